package service_test

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/service"
)

// settings is the Config of the services of this test.
type settings struct{ mtu int }

// fixed is a service that cannot be reloaded.
type fixed struct{ settings settings }

func (*fixed) Register(grpc.ServiceRegistrar)    {}
func (*fixed) Run(context.Context, func()) error { return nil }
func (*fixed) Close() error                      { return nil }

// reloadable is a service with Reload and Check.
type reloadable struct{ fixed }

var errSmall = errors.New("MTU is too small")

func (r *reloadable) Check(_ context.Context, s settings) error {
	if s.mtu < 68 {
		return errSmall
	}
	return nil
}

func (r *reloadable) Reload(ctx context.Context, s settings) error {
	if err := r.Check(ctx, s); err != nil {
		return err
	}
	r.settings = s
	return nil
}

func configure(d service.Deps) settings { return settings{d.Config.MTU} }

func deps(mtu int) service.Deps { return service.Deps{Config: &config.Config{MTU: mtu}} }

func TestMakeReloadable(t *testing.T) {
	spec := service.Make(service.Spec{Name: "x", Title: "X"}, configure,
		func(_ context.Context, s settings) (*reloadable, error) { return &reloadable{fixed{s}}, nil })
	if spec.Name != "x" || spec.Title != "X" {
		t.Errorf("got %q, %q", spec.Name, spec.Title)
	}
	made, err := spec.New(t.Context(), deps(1500))
	r, ok := made.(*reloadable)
	if err != nil || !ok || r.settings.mtu != 1500 {
		t.Fatalf("New: got %v, %v", made, err)
	}

	if err := spec.Check(t.Context(), made, deps(9)); !errors.Is(err, errSmall) {
		t.Errorf("Check: got %v, want %v", err, errSmall)
	}
	if err := spec.Reload(t.Context(), made, deps(9)); !errors.Is(err, errSmall) || r.settings.mtu != 1500 {
		t.Errorf("Reload: got %v, MTU %d, want %v", err, r.settings.mtu, errSmall)
	}
	if err := spec.Reload(t.Context(), made, deps(9000)); err != nil || r.settings.mtu != 9000 {
		t.Errorf("Reload: got %v, MTU %d, want 9000", err, r.settings.mtu)
	}
}

func TestMakeFixed(t *testing.T) {
	spec := service.Make(service.Spec{}, configure,
		func(_ context.Context, s settings) (*fixed, error) { return &fixed{s}, nil })
	made, err := spec.New(t.Context(), deps(1500))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(spec.Check(t.Context(), made, deps(9)), spec.Reload(t.Context(), made, deps(9))); err != nil {
		t.Errorf("got %v from a service without Reload", err)
	}
}

func TestFailedNewReturnsNilInterface(t *testing.T) {
	spec := service.Make(service.Spec{}, configure,
		func(context.Context, settings) (*fixed, error) { return nil, errSmall })
	made, err := spec.New(t.Context(), deps(1))
	if made != nil || !errors.Is(err, errSmall) {
		t.Errorf("got %v, %v, want nil and %v", made, err, errSmall)
	}
}
