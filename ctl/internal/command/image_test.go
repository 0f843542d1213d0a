package command_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/ctl/client/clienttest"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

func TestPush(t *testing.T) {
	progress := func(step string) proto.Message {
		return &containerv1.PushImageResponse{Event: &containerv1.PushImageResponse_Progress{
			Progress: &containerv1.Progress{Step: step, Subject: "abc"}}}
	}
	pushed := &containerv1.PushImageResponse{Event: &containerv1.PushImageResponse_Pushed{
		Pushed: &containerv1.PushedImage{Reference: "r.example/app:1", Digest: "sha256:1", Size: 528}}}
	script := clienttest.Script{"PushImage": {clienttest.Answers(progress("preparing"), progress("pushing"),
		progress("mounted from x"), pushed)}}
	const refers = "The push refers to repository [r.example/app]\n"
	checkAll(t, []row{
		{args: "push r.example/app:1", script: script, stdout: refers + "1: digest: sha256:1 size: 528\n",
			stderr:   "abc: Pushing\nabc: Mounted from x\n",
			requests: []proto.Message{&containerv1.PushImageRequest{Reference: "r.example/app:1"}}},
		{args: "push -q r.example/app", script: script, stdout: "r.example/app:latest\n"},
		{args: "image push --all-tags --platform linux/arm64 r.example/app", script: clienttest.Script{
			"PushImage": {clienttest.Answers(pushed, pushed)}},
			stdout: refers + strings.Repeat("1: digest: sha256:1 size: 528\n", 2),
			requests: []proto.Message{&containerv1.PushImageRequest{Reference: "r.example/app", AllTags: true,
				Platform: "linux/arm64"}}},
		{args: "push r.example/app", script: script, stdout: "Using default tag: latest\n" + refers +
			"1: digest: sha256:1 size: 528\n", stderr: "abc: Pushing\nabc: Mounted from x\n"},
		{args: "push -a r.example/app:1", code: 1,
			stderr: "fairlead: tag can't be used with --all-tags/-a\n"},
	})
}

func TestSave(t *testing.T) {
	dir := inDir(t, nil)
	script := clienttest.Script{"SaveImages": {clienttest.Answers(&containerv1.SaveImagesResponse{Data: []byte("ab")},
		&containerv1.SaveImagesResponse{Data: []byte("c")})}}
	check(t, row{args: "save a b", script: script, stdout: "abc",
		requests: []proto.Message{&containerv1.SaveImagesRequest{References: []string{"a", "b"}}}})
	check(t, row{args: "image save -o out.tar --platform linux/arm64 a", script: script,
		requests: []proto.Message{&containerv1.SaveImagesRequest{References: []string{"a"}, Platform: "linux/arm64"}}})
	check(t, row{args: "save -o nosuch/out.tar a", script: script, code: 1,
		stderr: "fairlead: archive nosuch/out.tar: cannot be written: no such file or directory\n"})

	broken := clienttest.Script{"SaveImages": {{Answers: []proto.Message{&containerv1.SaveImagesResponse{
		Data: []byte("half")}}, Err: fault.New(fault.Internal, "layer", "is damaged")}}}
	check(t, row{args: "save -o out.tar a", script: broken, code: 1, stderr: "fairlead: layer: is damaged\n"})
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("got files %v, %v; want out.tar only", left, err)
	}
	if got, err := os.ReadFile("out.tar"); err != nil || string(got) != "abc" {
		t.Errorf("got %q, %v; want the first archive", got, err)
	}
}

func TestHistoryAndPruneAndSearch(t *testing.T) {
	history := clienttest.Script{"GetImageHistory": {clienttest.Answers(&containerv1.GetImageHistoryResponse{
		History: []*containerv1.ImageHistory{
			{Id: "sha256:" + strings.Repeat("1", 64), CreatedAt: ago(2 * time.Hour), CreatedBy: "CMD [\"nginx\"]"},
			{CreatedAt: ago(3 * time.Hour), CreatedBy: "RUN " + strings.Repeat("x", 60), Size: 1500, Comment: "c"},
		}})}}
	pruned := clienttest.Script{"PruneImages": {clienttest.Answers(&containerv1.PruneImagesResponse{
		Untagged: []string{"a:1"}, Deleted: []string{"sha256:2"}, Reclaimed: 1_500_000})}}
	found := clienttest.Script{"SearchImages": {clienttest.Answers(&containerv1.SearchImagesResponse{
		Images: []*containerv1.FoundImage{
			{Name: "nginx", Description: strings.Repeat("d", 50), Stars: 7, Official: true},
			{Name: "x/nginx", Description: "two\nlines"}}})}}
	const gone = "Deleted Images:\nuntagged: a:1\ndeleted: sha256:2\n\nTotal reclaimed space: 1.5MB\n"
	checkAll(t, []row{
		{args: "history nginx", script: history, stdout: "" +
			"IMAGE          CREATED       CREATED BY                                      SIZE      COMMENT\n" +
			"111111111111   2 hours ago   CMD [\"nginx\"]                                   0B        \n" +
			"<missing>      3 hours ago   RUN " + strings.Repeat("x", 40) + "…   1.5kB     c\n"},
		{args: "image history -q nginx", script: history, stdout: "111111111111\n<missing>\n"},
		{args: "history --human=false --no-trunc --format {{.Size}} nginx", script: history, stdout: "0\n1500\n"},
		{args: "image prune -af --filter until=24h --filter label!=keep", script: pruned, stdout: gone,
			requests: []proto.Message{&containerv1.PruneImagesRequest{All: true,
				Filters: []string{"until=24h", "label!=keep"}}}},
		{args: "image prune", stdin: "n\n", code: 1, stdout: "WARNING! This will remove all dangling images.\n" +
			"Are you sure you want to continue? [y/N] ", stderr: "image prune has been cancelled\n"},
		{args: "image prune -a", stdin: "y\n", script: pruned, stdout: "WARNING! This will remove all images " +
			"without at least one container associated to them.\nAre you sure you want to continue? [y/N] " + gone},
		{args: "search nginx", script: found, stdout: "" +
			"NAME      DESCRIPTION                                     STARS     OFFICIAL\n" +
			"nginx     " + strings.Repeat("d", 44) + "…   7         [OK]\n" +
			"x/nginx   two lines                                       0         \n"},
		{args: "search --limit 5 -f stars=3 -f is-official=true --format {{.Name}} r.example:5000/nginx", script: found,
			stdout: "nginx\n", requests: []proto.Message{&containerv1.SearchImagesRequest{Term: "r.example:5000/nginx",
				Limit: 5}}},
		{args: "search -f stars=x nginx", code: 1, stderr: "fairlead: --filter stars=x: invalid filter 'stars=x'; " +
			"use is-official=true|false, is-automated=true|false or stars=NUMBER; see 'fairlead search --help'\n"},
	})
}

func TestRemoveOfMissingImage(t *testing.T) {
	script := clienttest.Script{"RemoveImage": {clienttest.Fails(fault.New(fault.NotFound, `image "x"`, "No such image"))}}
	checkAll(t, []row{
		{args: "rmi x", script: script, code: 1, stderr: "fairlead: image \"x\": No such image\n"},
		{args: "rmi -f --no-prune x", script: script, stderr: "fairlead: image \"x\": No such image\n"},
		{args: "rmi --platform linux/arm64 x", script: clienttest.Script{"RemoveImage": {clienttest.Answers(
			&containerv1.RemoveImageResponse{Untagged: []string{"x:latest"}})}}, stdout: "Untagged: x:latest\n",
			requests: []proto.Message{&containerv1.RemoveImageRequest{Reference: "x", Platform: "linux/arm64"}}},
	})
}

func TestLoginStoresCredentials(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"DOCKER_CONFIG": dir}
	path := filepath.Join(dir, "config.json")
	if err := os.WriteFile(path, []byte(`{"psFormat":"x","auths":{"other.example":{"auth":"YTpi"}}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	accepts := clienttest.Script{"CheckCredentials": {clienttest.Answers(&containerv1.CheckCredentialsResponse{})}}
	warning := "WARNING: the password is stored unencrypted in " + path +
		"; configure a credential helper (credsStore)\n"
	checkAll(t, []row{
		{args: "login -u me --password-stdin https://r.example:5000/v2/", stdin: "s3cret:x\r\n", env: env,
			script: accepts, stdout: "Login Succeeded\n", stderr: warning,
			requests: []proto.Message{&containerv1.CheckCredentialsRequest{Server: "r.example:5000",
				Credentials: &containerv1.Credentials{Username: "me", Password: "s3cret:x"}}}},
		{args: "login -u hub -p -", stdin: "h\n", env: env, script: accepts, stdout: "Login Succeeded\n",
			stderr: warning,
			requests: []proto.Message{&containerv1.CheckCredentialsRequest{
				Credentials: &containerv1.Credentials{Username: "hub", Password: "h"}}}},
		{args: "login r.example:5000", env: env, script: accepts, stdout: "Login Succeeded\n",
			stderr: "Authenticating with existing credentials... [Username: me]\n"},
		{args: "login -u me -p bad new.example", env: env, code: 1, script: clienttest.Script{"CheckCredentials": {
			clienttest.Fails(fault.New(fault.Denied, "registry new.example", "login failed: unauthorized"))}},
			stderr: "WARNING: using --password on the command line is insecure, use --password-stdin\n" +
				"fairlead: registry new.example: login failed: unauthorized\n"},
		{args: "login --password-stdin r", env: env, code: 1,
			stderr: "fairlead: the --password-stdin option requires --username to be set\n"},
		{args: "login -u me -p x --password-stdin r", env: env, code: 1,
			stderr: "fairlead: conflicting options: cannot specify both --password and --password-stdin\n"},
		{args: "login -u me --password-stdin r", env: env, stdin: " \n", code: 1,
			stderr: "fairlead: password is empty\n"},
		{args: "login -u me r.example", env: env, code: 1,
			stderr: "fairlead: cannot perform an interactive login from a non-TTY device\n"},
	})

	stored := func() map[string]any {
		text, err := os.ReadFile(path)
		var all map[string]any
		if err == nil {
			err = json.Unmarshal(text, &all)
		}
		if err != nil || all["psFormat"] != "x" {
			t.Fatalf("got %s, %v", text, err)
		}
		return all["auths"].(map[string]any)
	}
	auths := stored()
	if got := auths["r.example:5000"].(map[string]any)["auth"]; len(auths) != 3 || got != "bWU6czNjcmV0Ong=" {
		t.Errorf("got %v", auths)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info, err)
	}

	check(t, row{args: "logout r.example:5000", env: env, stdout: "Removing login credentials for r.example:5000\n"})
	check(t, row{args: "logout", env: env,
		stdout: "Removing login credentials for https://index.docker.io/v1/\n"})
	if auths = stored(); len(auths) != 1 || auths["other.example"] == nil {
		t.Errorf("got %v, want the other registry only", auths)
	}
}
