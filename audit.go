package knarr

import "github.com/knarr-io/knarr/internal/audit"

// Audit says what is recorded of requests, and where. Its fields are
// kube-apiserver's flags --audit-*; begin with DefaultAudit.
type Audit = audit.Options

// AuditDelivery is how a record reaches where it goes.
type AuditDelivery = audit.Delivery

// DefaultAudit is an Audit as kube-apiserver has it without flags. It records
// nothing until it has a PolicyFile, and a Path for the log or a ConfigFile for
// the webhook.
//
// What the server does by itself is no request to it, and is not recorded: the
// objects that it begins with, and what its controllers write. kube-apiserver
// records of those what it sends itself over HTTP, in the name of
// system:apiserver.
func DefaultAudit() *Audit { return audit.Defaults() }
