package store

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
)

func openForImages(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func addImage(t *testing.T, s *Store, img *Image) {
	t.Helper()
	if _, err := s.AddImages(img); err != nil {
		t.Fatal(err)
	}
}

func addUser(t *testing.T, s *Store, name, imageID string, status container.Status) string {
	t.Helper()
	c := &container.Container{ID: id.New(), Config: container.Config{Name: name, Image: imageID}, ImageID: imageID,
		Status: status}
	if err := s.AddContainer(c); err != nil {
		t.Fatal(err)
	}
	return c.ID
}

func tagsOf(t *testing.T, s *Store, imageID string) []string {
	t.Helper()
	img, ok := s.GetImage(imageID)
	if !ok {
		t.Fatalf("image %s does not exist", imageID)
	}
	return img.Tags
}

func TestTagMovesBetweenImages(t *testing.T) {
	s := openForImages(t)
	addImage(t, s, &Image{ID: "sha256:aa", Tags: []string{"r/a:1", "r/a:2"}})
	addImage(t, s, &Image{ID: "sha256:bb", Tags: []string{"r/a:1"}})
	if got := tagsOf(t, s, "sha256:aa"); !slices.Equal(got, []string{"r/a:2"}) {
		t.Errorf("old image: got tags %v, want r/a:2", got)
	}

	if img, ok := s.ImageByName("r/a:1"); !ok || img.ID != "sha256:bb" {
		t.Errorf("r/a:1: got %v, want new image", img)
	}

	if err := s.TagImage("sha256:bb", "r/a:2"); err != nil {
		t.Fatal(err)
	}

	if got := tagsOf(t, s, "sha256:aa"); len(got) != 0 {
		t.Errorf("old image: got tags %v, want none", got)
	}

	if err := s.TagImage("sha256:cc", "r/a:2"); !fault.Is(err, fault.NotFound) {
		t.Errorf("missing image: got %v, want NotFound", err)
	}
}

func TestAddImagesKeepsNames(t *testing.T) {
	s := openForImages(t)
	first := time.Unix(1, 0).UTC()
	addImage(t, s, &Image{ID: "sha256:aa", Tags: []string{"r/a:1"}, Digests: []string{"r/a@sha256:01"},
		StoredAt: first})
	addImage(t, s, &Image{ID: "sha256:aa", Tags: []string{"r/b:1"}, Digests: []string{"r/b@sha256:01"},
		StoredAt: first.Add(time.Hour)})
	img, _ := s.GetImage("sha256:aa")
	if !slices.Equal(img.Tags, []string{"r/a:1", "r/b:1"}) || len(img.Digests) != 2 || !img.StoredAt.Equal(first) {
		t.Errorf("got %+v", img)
	}
}

func TestRemoveLastNameDeletesImage(t *testing.T) {
	s := openForImages(t)
	addImage(t, s, &Image{ID: "sha256:aa", Tags: []string{"r/a:1", "r/a:2"}, Digests: []string{"r/a@sha256:01"},
		Layers: []string{"sha256:l1"}})
	done, err := s.RemoveImage("sha256:aa", "r/a:1", false)
	if err != nil || done.Image != nil || !slices.Equal(done.Untagged, []string{"r/a:1"}) {
		t.Fatalf("first tag: got %+v, %v", done, err)
	}

	if !s.LayerUsed("sha256:l1") {
		t.Error("layer of a stored image is unused")
	}

	done, err = s.RemoveImage("sha256:aa", "r/a:2", false)
	if err != nil || done.Image == nil || !slices.Equal(done.Untagged, []string{"r/a:2", "r/a@sha256:01"}) {
		t.Fatalf("last tag: got %+v, %v", done, err)
	}

	if _, ok := s.GetImage("sha256:aa"); ok || s.LayerUsed("sha256:l1") {
		t.Error("image still exists")
	}

	if _, err := s.RemoveImage("sha256:aa", "r/a:2", false); !fault.Is(err, fault.NotFound) {
		t.Errorf("second removal: got %v, want NotFound", err)
	}
}

func TestRemoveByIDRequiresForceWithSeveralTags(t *testing.T) {
	s := openForImages(t)
	addImage(t, s, &Image{ID: "sha256:aa", Tags: []string{"r/a:1", "r/b:1"}})
	if _, err := s.RemoveImage("sha256:aa", "", false); !fault.Is(err, fault.Busy) {
		t.Errorf("without force: got %v, want Busy", err)
	}
	done, err := s.RemoveImage("sha256:aa", "", true)
	if err != nil || done.Image == nil || len(done.Untagged) != 2 {
		t.Errorf("with force: got %+v, %v", done, err)
	}
}

func TestRemoveKeepsImageInUse(t *testing.T) {
	for _, tc := range []struct {
		what   string
		status container.Status
		tags   []string
		name   string
		force  bool
		fails  bool
		after  []string
	}{
		{"last tag, stopped", container.Exited, []string{"r/a:1"}, "r/a:1", false, true, []string{"r/a:1"}},
		{"last tag, running", container.Running, []string{"r/a:1"}, "r/a:1", false, true, []string{"r/a:1"}},
		{"one of two tags, running", container.Running, []string{"r/a:1", "r/a:2"}, "r/a:1", false, false,
			[]string{"r/a:2"}},
		{"last tag, stopped, forced", container.Created, []string{"r/a:1"}, "r/a:1", true, false, nil},
		{"last tag, running, forced", container.Running, []string{"r/a:1"}, "r/a:1", true, false, nil},
		{"id, stopped", container.Exited, []string{"r/a:1"}, "", false, true, []string{"r/a:1"}},
		{"id, stopped, forced", container.Exited, []string{"r/a:1"}, "", true, false, nil},
		{"id, running, forced", container.Running, []string{"r/a:1"}, "", true, true, []string{"r/a:1"}},
		{"id without tags, stopped, forced", container.Exited, nil, "", true, true, nil},
	} {
		t.Run(tc.what, func(t *testing.T) {
			s := openForImages(t)
			addImage(t, s, &Image{ID: "sha256:aa", Tags: tc.tags})
			uid := addUser(t, s, "web", "sha256:aa", tc.status)
			done, err := s.RemoveImage("sha256:aa", tc.name, tc.force)
			if tc.fails && !fault.Is(err, fault.Busy) || !tc.fails && (err != nil || done.Image != nil) {
				t.Errorf("got %+v, %v", done, err)
			}
			if got := tagsOf(t, s, "sha256:aa"); !slices.Equal(got, tc.after) {
				t.Errorf("got tags %v, want %v", got, tc.after)
			}
			if err := s.DeleteContainer(uid); err != nil {
				t.Fatal(err)
			}
			if done, err := s.RemoveImage("sha256:aa", "", true); err != nil || done.Image == nil {
				t.Errorf("without container: got %+v, %v", done, err)
			}
		})
	}
}
