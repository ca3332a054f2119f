package native

import (
	"k8s.io/kubernetes/pkg/apis/authentication"
	_ "k8s.io/kubernetes/pkg/apis/authentication/install"
)

func (b *builder) authentication() *group {
	return &group{name: authentication.GroupName, rows: []row{
		{name: "selfsubjectreviews", hub: review[authentication.SelfSubjectReview](), versions: words("v1 v1beta1")},
		{name: "tokenreviews", hub: review[authentication.TokenReview](), versions: words("v1")},
	}}
}
