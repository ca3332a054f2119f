package native

import (
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/apis/rbac"
	_ "k8s.io/kubernetes/pkg/apis/rbac/install"
	"k8s.io/kubernetes/pkg/registry/rbac/clusterrole"
	clusterrolepolicy "k8s.io/kubernetes/pkg/registry/rbac/clusterrole/policybased"
	"k8s.io/kubernetes/pkg/registry/rbac/clusterrolebinding"
	clusterrolebindingpolicy "k8s.io/kubernetes/pkg/registry/rbac/clusterrolebinding/policybased"
	"k8s.io/kubernetes/pkg/registry/rbac/role"
	rolepolicy "k8s.io/kubernetes/pkg/registry/rbac/role/policybased"
	"k8s.io/kubernetes/pkg/registry/rbac/rolebinding"
	rolebindingpolicy "k8s.io/kubernetes/pkg/registry/rbac/rolebinding/policybased"
)

func (b *builder) rbac() *group {
	v1 := words("v1")
	return &group{name: rbac.GroupName, rows: []row{
		{
			name: "clusterrolebindings", hub: of[rbac.ClusterRoleBinding, rbac.ClusterRoleBindingList](),
			versions: v1,
			strategy: clusterrolebinding.Strategy, permit: permit(b, clusterrolebindingpolicy.NewStorage), keepUnreadable: true,
		},
		{
			name: "clusterroles", hub: of[rbac.ClusterRole, rbac.ClusterRoleList](),
			versions: v1,
			strategy: clusterrole.Strategy, permit: permit(b, clusterrolepolicy.NewStorage), table: rest.NewDefaultTableConvertor(rbac.Resource("clusterroles")), keepUnreadable: true,
		},
		{
			name: "rolebindings", hub: of[rbac.RoleBinding, rbac.RoleBindingList](),
			namespaced: true, versions: v1,
			strategy: rolebinding.Strategy, permit: permit(b, rolebindingpolicy.NewStorage), keepUnreadable: true,
		},
		{
			name: "roles", hub: of[rbac.Role, rbac.RoleList](),
			namespaced: true, versions: v1,
			strategy: role.Strategy, permit: permit(b, rolepolicy.NewStorage), table: rest.NewDefaultTableConvertor(rbac.Resource("roles")), keepUnreadable: true,
		},
	}}
}
