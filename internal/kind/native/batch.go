package native

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/kubernetes/pkg/apis/batch"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	"k8s.io/kubernetes/pkg/registry/batch/cronjob"
	"k8s.io/kubernetes/pkg/registry/batch/job"
)

func (b *builder) batch() *group {
	return &group{name: batch.GroupName, rows: []row{
		{
			name: "cronjobs", hub: of[batch.CronJob, batch.CronJobList](), short: words("cj"), categories: words("all"),
			namespaced: true, versions: words("v1"),
			strategy: cronjob.Strategy, status: cronjob.StatusStrategy,
		},
		{
			name: "jobs", hub: of[batch.Job, batch.JobList](), categories: words("all"),
			namespaced: true, versions: words("v1"),
			strategy: job.Strategy, status: job.StatusStrategy, attributes: job.GetAttrs,
			beforeDelete: warnOfOrphans,
		},
	}}
}

// warnOfOrphans tells who deletes a job without saying what is to become of its
// pods that they stay, which few expect.
func warnOfOrphans(ctx context.Context, _ string, options *metav1.DeleteOptions) error {
	//nolint:staticcheck // the deprecated field is still part of the API
	unsaid := options.PropagationPolicy == nil && options.OrphanDependents == nil
	if unsaid && job.Strategy.DefaultGarbageCollectionPolicy(ctx) == rest.OrphanDependents {
		warning.AddWarning(ctx, "", "child pods are preserved by default when jobs are deleted; "+
			"set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning")
	}
	return nil
}
