package native

import (
	"k8s.io/kubernetes/pkg/apis/authorization"
	_ "k8s.io/kubernetes/pkg/apis/authorization/install"
)

func (b *builder) authorization() *group {
	v1 := words("v1")
	return &group{name: authorization.GroupName, rows: []row{
		{name: "localsubjectaccessreviews", hub: review[authorization.LocalSubjectAccessReview](), namespaced: true, versions: v1},
		{name: "selfsubjectaccessreviews", hub: review[authorization.SelfSubjectAccessReview](), versions: v1},
		{name: "selfsubjectrulesreviews", hub: review[authorization.SelfSubjectRulesReview](), versions: v1},
		{name: "subjectaccessreviews", hub: review[authorization.SubjectAccessReview](), versions: v1},
	}}
}
