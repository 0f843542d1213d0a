package imagedoc_test

import (
	"testing"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/services/engine/internal/apitest"
	"github.com/fairlead/fairlead/services/engine/internal/translate/imagedoc"
)

func phase(step, subject string, done, total int64) *containerv1.Progress {
	return &containerv1.Progress{Step: step, Subject: subject, Done: done, Total: total}
}

func TestPullMessages(t *testing.T) {
	p := &imagedoc.Pull{Image: "web:1"}
	var out []imagedoc.Message
	for _, m := range []*containerv1.Progress{
		phase("resolve image", "", 0, 0), phase("pulling", "web:1", 0, 0), phase("exists", "bbb", 9, 9),
		phase("waiting", "aaa", 0, 2000), phase("downloading", "aaa", 500, 2000),
		phase("downloading", "aaa", 2000, 2000),
		phase("unpacking", "aaa", 1, 2000), phase("unpacking", "aaa", 2000, 2000), phase("done", "aaa", 2000, 2000),
	} {
		out = append(out, p.Add(m)...)
	}
	apitest.Golden(t, "pull", append(out, p.End(image(t), "")...))
}

func TestPullOfStoredImage(t *testing.T) {
	p := &imagedoc.Pull{Image: "127.0.0.1:5000/team/web@sha256:cccc"}
	out := p.Add(phase("exists", "aaa", 9, 9))
	apitest.Golden(t, "pull-same", append(out, p.End(image(t), image(t).GetId())...))
}

func TestPushMessages(t *testing.T) {
	p := &imagedoc.Push{Repository: "127.0.0.1:5000/team/web"}
	var out []imagedoc.Message
	for _, m := range []*containerv1.Progress{
		phase("preparing", "aaa", 0, 0), phase("pushing", "aaa", 1024, 4096), phase("pushed", "aaa", 0, 0),
		phase("present", "bbb", 0, 0), phase("mounted from team/base", "ccc", 0, 0),
	} {
		out = append(out, p.Add(m)...)
	}
	pushed := &containerv1.PushedImage{Reference: "127.0.0.1:5000/team/web:1", Digest: "sha256:dd", Size: 529}
	out = append(out, p.Pushed(pushed)...)
	apitest.Golden(t, "push", append(out, imagedoc.Failure("unauthorized")))
}

func TestLoadedMessages(t *testing.T) {
	apitest.Golden(t, "load", imagedoc.Loaded([]*containerv1.Image{image(t), {Id: "sha256:1"}}))
}
