package client_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"google.golang.org/grpc"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/ctl/client"
	"github.com/fairlead/fairlead/ctl/client/clienttest"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
)

const timeout = 20 * time.Second

func ctx(t *testing.T) context.Context {
	c, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	return c
}

func TestUnreachableAgentErrorIsOneLine(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "a.sock")
	c, err := client.Dial("unix://" + socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, err = c.Host.GetInfo(ctx(t), &hostv1.GetInfoRequest{})
	want := "agent unix://" + socket + ": cannot connect: no such file or directory; start fairlead-agent, " +
		"or set its address with -H or FAIRLEAD_HOST"
	if err == nil || err.Error() != want || !fault.Is(err, fault.Unavailable) {
		t.Errorf("a call: %v\nwant %s", err, want)
	}

	if _, err = c.Attach(ctx(t), &containerv1.AttachOptions{}); err == nil || err.Error() != want {
		t.Errorf("a stream: %v\nwant %s", err, want)
	}
}

func TestLateAgentIsReachable(t *testing.T) {
	a, host := clienttest.Serve(t,
		clienttest.Script{"GetInfo": {clienttest.Answers(&hostv1.GetInfoResponse{Version: "7"})}})
	c, err := client.Dial(host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()

	if len(a.Requests()) != 0 || c.Address() != host {
		t.Errorf("Dial did something; address %s", c.Address())
	}

	if res, err := c.Host.GetInfo(ctx(t), &hostv1.GetInfoRequest{}); err != nil || res.GetVersion() != "7" {
		t.Errorf("%v, %v", res, err)
	}
}

func TestDialRejectsInvalidAddresses(t *testing.T) {
	for host, want := range map[string]string{
		"/run/x.sock":                         "address has no scheme",
		"unix://x.sock":                       "socket path must be absolute",
		"unix:///" + strings.Repeat("x", 107): "socket path must be shorter than 108 bytes",
		"tcp://localhost":                     "address has no port",
		"http://x:1":                          "scheme http is not supported",
		"":                                    "address has no scheme",
	} {
		_, err := client.Dial(host)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "agent "+host+": ") {
			t.Errorf("Dial(%q): %v; want %q", host, err, want)
		}
	}
}

func TestAgentFaultsAreComplete(t *testing.T) {
	sent := fault.New(fault.Busy, "port 0.0.0.0:8080/tcp", "port is already allocated",
		fault.WithReason(fault.ReasonPortAllocated))
	_, c := clienttest.Dial(t, clienttest.Script{"RunContainer": {clienttest.Fails(sent)},
		"GetInfo": {clienttest.Fails(sent)}})
	_, unary := c.Host.GetInfo(ctx(t), &hostv1.GetInfoRequest{})
	_, stream := c.Run(ctx(t), &containerv1.RunOptions{}, nil)
	for _, err := range []error{unary, stream} {
		if err == nil || err.Error() != sent.Error() || fault.ReasonOf(err) != sent.Reason ||
			fault.KindOf(err) != sent.Kind {
			t.Errorf("%v; want %v", err, sent)
		}
	}
}

func TestLostConnectionHint(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()

	go func() {
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			_ = conn.Close()
		}
	}()
	c, err := client.Dial("tcp://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, err = c.Host.GetInfo(ctx(t), &hostv1.GetInfoRequest{})
	if err == nil || !strings.Contains(err.Error(), "connection lost") || !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
}

func started(id string) proto.Message {
	return &containerv1.RunContainerResponse{Event: &containerv1.RunContainerResponse_Started{
		Started: &containerv1.Started{Id: id, Warnings: []string{"w"}}}}
}

func exited(code uint32) proto.Message {
	return &containerv1.RunContainerResponse{Event: &containerv1.RunContainerResponse_Exited{
		Exited: &containerv1.Exited{ExitCode: code}}}
}

func output(kind containerv1.StreamKind, s string) proto.Message {
	return &containerv1.RunContainerResponse{Event: &containerv1.RunContainerResponse_Output{
		Output: &containerv1.Output{Stream: kind, Data: []byte(s)}}}
}

// upper is a container that writes its input in upper case and exits with 3 at the end of input.
func upper(_ proto.Message, s clienttest.Stream) error {
	if err := s.Send(started("c1")); err != nil {
		return err
	}

	for {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		in := m.(*containerv1.RunContainerRequest).GetInput()
		switch {
		case in.GetStdinClosed():
			_ = s.Send(output(containerv1.StreamKind_STREAM_KIND_STDERR, "bye"))
			return s.Send(exited(3))
		case in.GetDetach():
			return nil
		default:
			_ = s.Send(output(containerv1.StreamKind_STREAM_KIND_STDOUT, strings.ToUpper(string(in.GetStdin()))))
		}
	}
}

func TestSessionCopiesStreams(t *testing.T) {
	a, c := clienttest.Dial(t, clienttest.Script{"RunContainer": {{Serve: upper}}})
	s, err := c.Run(ctx(t), &containerv1.RunOptions{Config: &containerv1.ContainerConfig{Image: "x"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.ID != "c1" || len(s.Warnings) != 1 {
		t.Errorf("session %+v", s)
	}

	in := strings.Repeat("hello ", 50_000)
	var stdout, stderr bytes.Buffer
	code, err := s.Pipe(client.Stdio{In: iotest.HalfReader(strings.NewReader(in)), Out: &stdout, Err: &stderr})
	if err != nil || code != 3 || stdout.String() != strings.ToUpper(in) || stderr.String() != "bye" {
		t.Errorf("code %d, error %v, %d bytes of output, stderr %q", code, err, stdout.Len(), stderr.String())
	}

	if run := a.Requests()[0].(*containerv1.RunContainerRequest).GetRun(); !run.GetAttach() ||
		run.GetConfig().GetImage() != "x" {
		t.Errorf("the request was %v", run)
	}
}

func TestDetachKeepsProcessRunning(t *testing.T) {
	_, c := clienttest.Dial(t, clienttest.Script{"RunContainer": {{Serve: upper}}})
	s, err := c.Run(ctx(t), &containerv1.RunOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	in := io.MultiReader(strings.NewReader("x"), iotest.ErrReader(client.ErrDetached))
	var out bytes.Buffer
	if _, err := s.Pipe(client.Stdio{In: in, Out: &out}); !errors.Is(err, client.ErrDetached) || out.String() != "X" {
		t.Errorf("%v, output %q", err, &out)
	}
}

func TestEarlyEndOfCallIsFault(t *testing.T) {
	_, c := clienttest.Dial(t, clienttest.Script{
		"RunContainer":    {clienttest.Answers(started("c1"))},
		"CreateContainer": {clienttest.Answers()},
		"AttachContainer": {clienttest.Answers()},
		"PullImage":       {clienttest.Answers()},
	})
	s, err := c.Run(ctx(t), &containerv1.RunOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := s.Pipe(client.Stdio{}); err == nil || !strings.Contains(err.Error(), "before the process ended") {
		t.Errorf("Pipe: %v", err)
	}

	_, create := c.Create(ctx(t), &containerv1.CreateContainerRequest{}, nil)
	_, attach := c.Attach(ctx(t), &containerv1.AttachOptions{})
	_, pull := c.Pull(ctx(t), &containerv1.PullImageRequest{}, nil)
	for _, err := range []error{create, attach, pull} {
		if !fault.Is(err, fault.Internal) {
			t.Errorf("%v", err)
		}
	}
}

func TestDetachedRunReportsProgress(t *testing.T) {
	step := &containerv1.RunContainerResponse{Event: &containerv1.RunContainerResponse_Progress{
		Progress: &containerv1.Progress{Step: "join network"}}}
	_, c := clienttest.Dial(t, clienttest.Script{"RunContainer": {clienttest.Answers(step, started("c1"))}})
	var steps []string
	st, err := c.RunDetached(ctx(t), &containerv1.RunOptions{},
		func(p *containerv1.Progress) { steps = append(steps, p.GetStep()) })
	if err != nil || st.GetId() != "c1" || len(steps) != 1 || steps[0] != "join network" {
		t.Errorf("%v, %v, steps %q", st, err, steps)
	}
}

func TestUploadIsComplete(t *testing.T) {
	archive := bytes.Repeat([]byte("0123456789"), 250_000)
	var got bytes.Buffer
	_, c := clienttest.Dial(t, clienttest.Script{"LoadImage": {{Serve: func(first proto.Message,
		s clienttest.Stream) error {
		m, err := first, error(nil)
		for ; err == nil; m, err = s.Recv() {
			got.Write(m.(*containerv1.LoadImageRequest).GetData())
		}
		report := &containerv1.LoadImageResponse{Progress: &containerv1.Progress{Step: "unpacking"}}
		if err := s.Send(report); err != nil {
			return err
		}
		return s.Send(&containerv1.LoadImageResponse{Images: []*containerv1.Image{{Id: "sha256:1"}}})
	}}}})
	var steps []string
	images, err := c.LoadReporting(ctx(t), bytes.NewReader(archive), "",
		func(p *containerv1.Progress) { steps = append(steps, p.GetStep()) })
	if err != nil || len(images) != 1 || len(steps) != 1 || !bytes.Equal(got.Bytes(), archive) {
		t.Errorf("%v, %v, %d bytes of %d", images, err, got.Len(), len(archive))
	}
}

func TestRejectedArchiveReturnsReason(t *testing.T) {
	refused := fault.New(fault.Invalid, "archive", "no image in it")
	_, c := clienttest.Dial(t, clienttest.Script{"LoadImage": {clienttest.Fails(refused)},
		"ImportImage": {clienttest.Fails(refused)}})
	endless := io.LimitReader(zeros{}, 1<<30)
	if _, err := c.Load(ctx(t), endless, ""); err == nil || err.Error() != refused.Error() {
		t.Errorf("Load: %v", err)
	}

	if _, err := c.Import(ctx(t), &containerv1.ImportOptions{}, endless); err == nil || err.Error() != refused.Error() {
		t.Errorf("Import: %v", err)
	}

	if _, err := c.Load(ctx(t), iotest.ErrReader(errors.New("bad sector")), ""); err == nil ||
		!strings.Contains(err.Error(), "archive: cannot be read: bad sector") {
		t.Errorf("a broken file: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestCanceledContextErrorIsReturned(t *testing.T) {
	_, c := clienttest.Dial(t, clienttest.Script{"WaitContainer": {{Serve: func(_ proto.Message,
		s clienttest.Stream) error {
		<-s.Context().Done()
		return nil
	}}}})
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Containers.WaitContainer(short, &containerv1.WaitContainerRequest{}); !errors.Is(err,
		context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func BenchmarkFirstCallOfANewClient(b *testing.B) {
	_, host := clienttest.Serve(b, clienttest.Script{"GetInfo": {clienttest.Answers(&hostv1.GetInfoResponse{})}})
	for b.Loop() {
		c, err := client.Dial(host)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.Host.GetInfo(b.Context(), &hostv1.GetInfoRequest{}); err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
	}
}

func TestRejectedCertificateError(t *testing.T) {
	agent, otherCert := selfSigned(t), selfSigned(t)
	pool := x509.NewCertPool()
	pool.AddCert(agent.Leaf)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{agent}, ClientCAs: pool,
			ClientAuth: tls.RequireAndVerifyClientCert, MaxVersion: version, NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		srv := grpc.NewServer()
		go func() { _ = srv.Serve(l) }()
		defer srv.Stop()
		c, err := client.Dial("tcp://"+l.Addr().String(),
			client.WithTLS(&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{otherCert}}))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_, err = c.Host.GetInfo(ctx(t), &hostv1.GetInfoRequest{})
		if !fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), ": certificate refused by the agent: ") {
			t.Errorf("TLS %x: got %v", version, err)
		}
	}
}

// selfSigned returns a certificate for 127.0.0.1.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), IsCA: true,
		BasicConstraintsValid: true,
		NotBefore:             time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}

	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}

	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func TestAgentCancelIsNotUserCancel(t *testing.T) {
	_, c := clienttest.Dial(t, clienttest.Script{"WaitContainer": {clienttest.Fails(context.Canceled)}})
	_, err := c.Containers.WaitContainer(ctx(t), &containerv1.WaitContainerRequest{})
	if !fault.Is(err, fault.Internal) || errors.Is(err, context.Canceled) ||
		!strings.Contains(err.Error(), ": canceled the call; ") {
		t.Errorf("got %v", err)
	}
}
