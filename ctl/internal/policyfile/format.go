package policyfile

import (
	"go.yaml.in/yaml/v4"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// file is a file with policies, for Format.
type file struct {
	Policies []policy `yaml:"policies"`
}

type policy struct {
	Name       string   `yaml:"name"`
	Containers []string `yaml:"containers,omitempty"`
	Networks   []string `yaml:"networks,omitempty"`
	Labels     []string `yaml:"labels,omitempty"`
	Egress     []string `yaml:"egress,omitempty"`
	Ingress    []string `yaml:"ingress,omitempty"`
	Tests      []test   `yaml:"tests,omitempty"`
}

type test struct {
	Container         string   `yaml:"container"`
	MayReach          []string `yaml:"may-reach,omitempty"`
	MayNotReach       []string `yaml:"may-not-reach,omitempty"`
	MayBeReachedBy    []string `yaml:"may-be-reached-by,omitempty"`
	MayNotBeReachedBy []string `yaml:"may-not-be-reached-by,omitempty"`
}

// Format returns a file with policies, in YAML. Parse returns the same policies.
func Format(all []*containerv1.NamedPolicy) (string, error) {
	var f file
	for _, p := range all {
		out := policy{Name: p.GetName(), Containers: p.GetContainers(), Networks: p.GetNetworks(),
			Labels: p.GetLabels(), Egress: p.GetEgress(), Ingress: p.GetIngress()}
		for _, t := range p.GetTests() {
			out.add(t)
		}
		f.Policies = append(f.Policies, out)
	}
	data, err := yaml.Marshal(f)
	return string(data), err
}

// add adds an assertion, with others about the same container.
func (p *policy) add(t *containerv1.PolicyTest) {
	if n := len(p.Tests); n == 0 || p.Tests[n-1].Container != t.GetContainer() {
		p.Tests = append(p.Tests, test{Container: t.GetContainer()})
	}
	last := &p.Tests[len(p.Tests)-1]
	list := &last.MayReach
	switch {
	case t.GetIncoming() && t.GetAllowed():
		list = &last.MayBeReachedBy
	case t.GetIncoming():
		list = &last.MayNotBeReachedBy
	case !t.GetAllowed():
		list = &last.MayNotReach
	}
	*list = append(*list, t.GetPeer())
}
