package admission

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/admission"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/plugin/pkg/admission/defaulttolerationseconds"
)

// tolerations is upstream's plugin DefaultTolerationSeconds with numbers of its
// own: upstream's are the process's.
type tolerations struct {
	*defaulttolerationseconds.Plugin
	seconds map[string]*int64
}

func newTolerations(p *defaulttolerationseconds.Plugin, s Settings) admission.Interface {
	if s.NotReadySeconds == nil && s.UnreachableSeconds == nil {
		return p
	}
	return &tolerations{p, map[string]*int64{
		corev1.TaintNodeNotReady: s.NotReadySeconds, corev1.TaintNodeUnreachable: s.UnreachableSeconds,
	}}
}

func (t *tolerations) Admit(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	given := 0
	pod, ok := a.GetObject().(*api.Pod)
	if ok {
		given = len(pod.Spec.Tolerations)
	}
	if err := t.Plugin.Admit(ctx, a, o); err != nil || !ok {
		return err
	}
	for i := given; i < len(pod.Spec.Tolerations); i++ {
		if seconds := t.seconds[pod.Spec.Tolerations[i].Key]; seconds != nil {
			own := *seconds
			pod.Spec.Tolerations[i].TolerationSeconds = &own
		}
	}
	return nil
}
