package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

// runCNI is the program cni: it calls the plugins of a configuration in $WORK/net.d.
//
//	cni add|check|del CONFIG CONTAINER NETNS [INTERFACE [KEY=VALUE…]]
//	cni gc CONFIG [CONTAINER/INTERFACE…]
//	cni status CONFIG
//
// A key is a capability, with its value in JSON, or one of CNI_ARGS.
func runCNI() {
	if err := callPlugins(context.Background(), os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		if e := (*types.Error)(nil); errors.As(err, &e) {
			fmt.Fprintln(os.Stderr, "code", e.Code)
		}
		os.Exit(1)
	}
}

func callPlugins(ctx context.Context, verb, config string, args []string) error {
	work := os.Getenv("WORK")
	list, err := libcni.LoadConfList(filepath.Join(work, "net.d"), config)
	if err != nil {
		return err
	}
	plugins := libcni.NewCNIConfigWithCacheDir([]string{os.Getenv(binVar)}, filepath.Join(work, "cache"), nil)
	switch verb {
	case "status":
		return plugins.GetStatusNetworkList(ctx, list)
	case "gc":
		valid := &libcni.GCArgs{}
		for _, arg := range args {
			container, name, _ := strings.Cut(arg, "/")
			valid.ValidAttachments = append(valid.ValidAttachments, types.GCAttachment{ContainerID: container,
				IfName: name})
		}
		return plugins.GCNetworkList(ctx, list, valid)
	}

	rt, err := runtimeOf(args)
	if err != nil {
		return err
	}
	switch verb {
	case "add":
		result, err := plugins.AddNetworkList(ctx, list, rt)
		if err != nil {
			return err
		}
		return result.PrintTo(os.Stdout)
	case "check":
		return plugins.CheckNetworkList(ctx, list, rt)
	case "del":
		return plugins.DelNetworkList(ctx, list, rt)
	}
	return fmt.Errorf("unknown command %s", verb)
}

// runtimeOf returns the parameters of CONTAINER NETNS [INTERFACE [KEY=VALUE…]].
func runtimeOf(args []string) (*libcni.RuntimeConf, error) {
	rt := &libcni.RuntimeConf{ContainerID: args[0], NetNS: args[1], IfName: "eth0",
		CapabilityArgs: map[string]any{}}
	if len(args) > 2 {
		rt.IfName, args = args[2], args[3:]
	} else {
		args = nil
	}
	for _, arg := range args {
		key, text, _ := strings.Cut(arg, "=")
		if strings.ToUpper(key) == key {
			rt.Args = append(rt.Args, [2]string{key, text})
			continue
		}
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			return nil, fmt.Errorf("%s: %w", arg, err)
		}
		rt.CapabilityArgs[key] = value
	}
	return rt, nil
}
