package command_test

import (
	"testing"
	"time"

	"github.com/fairlead/fairlead/ctl/client/clienttest"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// diskScript responds with two images that share a layer, two containers and two volumes.
func diskScript() clienttest.Script {
	volume := &containerv1.Mount{Type: containerv1.MountType_MOUNT_TYPE_VOLUME, Source: "data"}
	return clienttest.Script{
		"GetDiskUsage": {clienttest.Answers(&containerv1.GetDiskUsageResponse{Layers: 2000, UnusedLayers: 500,
			SharedLayers: map[string]int64{"sha256:1111": 1000, "sha256:2222": 1000},
			Containers:   map[string]int64{"c1": 3000, "c2": 1000},
			Volumes:      map[string]int64{"data": 70, "broken": -1}})},
		"ListImages": {clienttest.Answers(&containerv1.ListImagesResponse{Images: []*containerv1.Image{
			{Id: "sha256:1111", Tags: []string{"web:1", "web:2"}, Size: 1500, Containers: 2,
				CreatedAt: ago(3 * time.Hour)},
			{Id: "sha256:2222", Size: 1500}}})},
		"ListContainers": {clienttest.Answers(&containerv1.ListContainersResponse{Containers: []*containerv1.Container{
			{Id: "c1", Status: containerv1.ContainerStatus_CONTAINER_STATUS_RUNNING, Args: []string{"serve"},
				CreatedAt: ago(2 * time.Hour), StartedAt: ago(time.Minute), Config: &containerv1.ContainerConfig{
					Image: "web:1", Name: "up", Mounts: []*containerv1.Mount{volume}}},
			{Id: "c2", Status: containerv1.ContainerStatus_CONTAINER_STATUS_CREATED, Args: []string{"serve"},
				CreatedAt: ago(2 * time.Hour), Config: &containerv1.ContainerConfig{Image: "web:1", Name: "new"}}}})},
		"ListVolumes": {clienttest.Answers(&containerv1.ListVolumesResponse{Volumes: []*containerv1.Volume{
			{Name: "data", Containers: []string{"c1"}}, {Name: "broken"}}})},
	}
}

func TestSystemDiskUsage(t *testing.T) {
	empty := clienttest.Script{
		"GetDiskUsage":   {clienttest.Answers(&containerv1.GetDiskUsageResponse{})},
		"ListImages":     {clienttest.Answers(&containerv1.ListImagesResponse{})},
		"ListContainers": {clienttest.Answers(&containerv1.ListContainersResponse{})},
		"ListVolumes":    {clienttest.Answers(&containerv1.ListVolumesResponse{})},
	}
	checkAll(t, []row{
		{args: "system df", script: diskScript(), stdout: "" +
			"TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n" +
			"Images          2         1         2kB       500B (25%)\n" +
			"Containers      2         1         4kB       1kB (25%)\n" +
			"Local Volumes   2         1         70B       0B (0%)\n" +
			"Build Cache     0         0         0B        0B\n"},
		{args: "system df", script: empty, stdout: "" +
			"TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n" +
			"Images          0         0         0B        0B\n" +
			"Containers      0         0         0B        0B\n" +
			"Local Volumes   0         0         0B        0B\n" +
			"Build Cache     0         0         0B        0B\n"},
		{args: "system df --format json", script: empty, stdout: "" +
			`{"Active":"0","Reclaimable":"0B","Size":"0B","TotalCount":"0","Type":"Images"}` + "\n" +
			`{"Active":"0","Reclaimable":"0B","Size":"0B","TotalCount":"0","Type":"Containers"}` + "\n" +
			`{"Active":"0","Reclaimable":"0B","Size":"0B","TotalCount":"0","Type":"Local Volumes"}` + "\n" +
			`{"Active":"0","Reclaimable":"0B","Size":"0B","TotalCount":"0","Type":"Build Cache"}` + "\n"},
		{args: "system df --format '{{.Type}}={{.Size}}'", script: diskScript(),
			stdout: "Images=2kB\nContainers=4kB\nLocal Volumes=70B\nBuild Cache=0B\n"},
		{args: "system df -v", script: diskScript(), stdout: "" +
			"Images space usage:\n\n" +
			"REPOSITORY   TAG       IMAGE ID   CREATED       SIZE      SHARED SIZE   UNIQUE SIZE   CONTAINERS\n" +
			"web          1         1111       3 hours ago   1.5kB     1kB           500B          2\n" +
			"<none>       <none>    2222       N/A           1.5kB     1kB           500B          0\n" +
			"\nContainers space usage:\n\n" +
			"CONTAINER ID   IMAGE     COMMAND   LOCAL VOLUMES   SIZE      CREATED       STATUS              NAMES\n" +
			"c1             web:1     \"serve\"   1               3kB       2 hours ago   Up About a minute   up\n" +
			"c2             web:1     \"serve\"   0               1kB       2 hours ago   Created             new\n" +
			"\nLocal Volumes space usage:\n\n" +
			"VOLUME NAME   LINKS     SIZE\n" +
			"data          1         70B\n" +
			"broken        0         N/A\n" +
			"\nBuild cache usage: 0B\n\n" +
			"CACHE ID   CACHE TYPE   SIZE      CREATED   LAST USED   USAGE     SHARED\n"},
		{args: "system df -v --format json", script: empty,
			stdout: `{"Images":[],"Containers":[],"Volumes":[],"BuildCache":[]}` + "\n"},
		{args: "system df -v --format '{{range .Volumes}}{{.Name}}:{{.Size}} {{end}}'", script: diskScript(),
			stdout: "data:70B broken:N/A \n"},
	})
}
