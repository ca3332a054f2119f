package ownership

import "k8s.io/apimachinery/pkg/runtime"

// Direct does an update without upstream's manager, or returns false.
func Direct(m Manager, live, obj runtime.Object, by string) bool {
	d := m.(*manager).direct
	return d != nil && d.update(live, obj, by)
}
