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

func remove(s *Store, imageID, name string, force bool) (*Removal, error) {
	done, err := s.RemoveImages([]string{imageID}, name, force)
	if err != nil {
		return nil, err
	}
	return done[0], nil
}

func TestTagHasImageForEachPlatform(t *testing.T) {
	s := openForImages(t)
	addImage(t, s, &Image{ID: "sha256:a1", Platform: "linux/amd64", Tags: []string{"r/a:1"}, StoredAt: time.Unix(1, 0)})
	addImage(t, s, &Image{ID: "sha256:b1", Platform: "linux/arm64/v8", Tags: []string{"r/a:1"},
		StoredAt: time.Unix(2, 0)})
	addImage(t, s, &Image{ID: "sha256:a2", Platform: "linux/amd64", Tags: []string{"r/a:1"}, StoredAt: time.Unix(3, 0)})
	if found := s.ImagesByName("r/a:1"); len(found) != 2 || found[0].ID != "sha256:a2" || found[1].ID != "sha256:b1" {
		t.Errorf("got %v, want the latest image of each platform", found)
	}

	if err := s.TagImages([]string{"sha256:a1"}, "r/a:1"); err != nil {
		t.Fatal(err)
	}
	if found := s.ImagesByName("r/a:1"); len(found) != 1 || found[0].ID != "sha256:a1" || found[0].TaggedAt.IsZero() {
		t.Errorf("got %v, want only the tagged image", found)
	}
}

func TestPruneKeepsImagesInUse(t *testing.T) {
	s := openForImages(t)
	for _, name := range []string{"aa", "bb", "cc"} {
		addImage(t, s, &Image{ID: "sha256:" + name, Tags: []string{"r/" + name + ":1"}})
	}
	addUser(t, s, "web", "sha256:aa", container.Exited)
	done, err := s.PruneImages(func(i *Image) bool { return i.ID != "sha256:cc" })
	if err != nil || len(done) != 1 || done[0].Image.ID != "sha256:bb" || len(s.ListImages()) != 2 {
		t.Errorf("got %v, %v", done, err)
	}
}

func TestTagMovesBetweenImages(t *testing.T) {
	s := openForImages(t)
	addImage(t, s, &Image{ID: "sha256:aa", Tags: []string{"r/a:1", "r/a:2"}})
	addImage(t, s, &Image{ID: "sha256:bb", Tags: []string{"r/a:1"}})
	if got := tagsOf(t, s, "sha256:aa"); !slices.Equal(got, []string{"r/a:2"}) {
		t.Errorf("old image: got tags %v, want r/a:2", got)
	}

	if found := s.ImagesByName("r/a:1"); len(found) != 1 || found[0].ID != "sha256:bb" {
		t.Errorf("r/a:1: got %v, want new image", found)
	}

	if err := s.TagImages([]string{"sha256:bb"}, "r/a:2"); err != nil {
		t.Fatal(err)
	}

	if got := tagsOf(t, s, "sha256:aa"); len(got) != 0 {
		t.Errorf("old image: got tags %v, want none", got)
	}

	if err := s.TagImages([]string{"sha256:cc"}, "r/a:2"); !fault.Is(err, fault.NotFound) {
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
	done, err := remove(s, "sha256:aa", "r/a:1", false)
	if err != nil || done.Deleted || !slices.Equal(done.Untagged, []string{"r/a:1"}) {
		t.Fatalf("first tag: got %+v, %v", done, err)
	}

	if !s.LayerUsed("sha256:l1") {
		t.Error("layer of a stored image is unused")
	}

	done, err = remove(s, "sha256:aa", "r/a:2", false)
	if err != nil || !done.Deleted || !slices.Equal(done.Untagged, []string{"r/a:2", "r/a@sha256:01"}) {
		t.Fatalf("last tag: got %+v, %v", done, err)
	}

	if _, ok := s.GetImage("sha256:aa"); ok || s.LayerUsed("sha256:l1") {
		t.Error("image still exists")
	}

	if _, err := remove(s, "sha256:aa", "r/a:2", false); !fault.Is(err, fault.NotFound) {
		t.Errorf("second removal: got %v, want NotFound", err)
	}
}

func TestRemoveByIDRequiresForceWithSeveralTags(t *testing.T) {
	s := openForImages(t)
	addImage(t, s, &Image{ID: "sha256:aa", Tags: []string{"r/a:1", "r/b:1"}})
	if _, err := remove(s, "sha256:aa", "", false); !fault.Is(err, fault.Busy) {
		t.Errorf("without force: got %v, want Busy", err)
	}
	done, err := remove(s, "sha256:aa", "", true)
	if err != nil || !done.Deleted || len(done.Untagged) != 2 {
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
			done, err := remove(s, "sha256:aa", tc.name, tc.force)
			if tc.fails && !fault.Is(err, fault.Busy) || !tc.fails && (err != nil || done.Deleted) {
				t.Errorf("got %+v, %v", done, err)
			}
			if got := tagsOf(t, s, "sha256:aa"); !slices.Equal(got, tc.after) {
				t.Errorf("got tags %v, want %v", got, tc.after)
			}
			if err := s.DeleteContainer(uid); err != nil {
				t.Fatal(err)
			}
			if done, err := remove(s, "sha256:aa", "", true); err != nil || !done.Deleted {
				t.Errorf("without container: got %+v, %v", done, err)
			}
		})
	}
}
