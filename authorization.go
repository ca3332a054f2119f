package knarr

import (
	"github.com/knarr-io/knarr/internal/auth/authz"
	"github.com/knarr-io/knarr/internal/auth/node"
	"github.com/knarr-io/knarr/internal/auth/rbac"
)

// authorization is the options about who may do what.
func (o *Options) authorization() authz.Options {
	return authz.Options{
		Modes: o.AuthorizationModes, PolicyFile: o.AuthorizationPolicyFile, ConfigFile: o.AuthorizationConfig,
		Webhook: authz.Webhook{
			ConfigFile: o.AuthorizationWebhookConfigFile, Version: o.AuthorizationWebhookVersion,
			AuthorizedTTL: o.AuthorizationWebhookCacheAuthorizedTTL, UnauthorizedTTL: o.AuthorizationWebhookCacheUnauthorizedTTL,
		},
	}
}

// authorize makes what decides who may do what, by the state, and tells the rules
// of kinds of it.
func (s *Server) authorize(rules *references) error {
	roles := rbac.New(s.state)
	options := s.options.authorization()
	options.RBAC, options.Node = roles, node.New(s.state)
	var err error
	s.authorizer, err = authz.New(options)
	rules.UnconditionalAuthorizer, rules.AuthorizationRuleResolver = s.authorizer, roles.Resolver()
	return err
}
