package verb

import (
	"fmt"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	"k8s.io/apiserver/pkg/storage"

	"github.com/knarr-io/knarr/internal/object"
)

// forbidden is the refusal of what the authorizer did not allow.
func forbidden(a authorizer.Attributes, reason string) error {
	return responsewriters.ForbiddenStatusError(a, reason)
}

// preconditionFailed is the conflict of a deletion that named another object
// or version.
func preconditionFailed(t Target, m metav1.Object, p storage.Preconditions) error {
	begin := "Precondition failed"
	if t.resource().Name == "customresourcedefinitions" {
		begin = "precondition failed" // as upstream
	}
	err := fmt.Errorf("%s: UID in precondition: %v, UID in object meta: %v", begin, deref(p.UID), m.GetUID())
	if p.UID == nil || *p.UID == m.GetUID() {
		err = fmt.Errorf("%s: ResourceVersion in precondition: %v, ResourceVersion in object meta: %v", begin, deref(p.ResourceVersion), m.GetResourceVersion())
	}
	return apierrors.NewConflict(t.GroupResource(), t.Name, err)
}

// checkedKey is the key that a failed precondition names. A dry run does not get
// as far as where upstream puts the root before keys.
func checkedKey(key string, dryRun bool) string {
	if dryRun {
		return strings.TrimPrefix(key, keyRoot)
	}
	return key
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func resourceVersion(o *object.Object) string { return strconv.FormatUint(o.Rev, 10) }
