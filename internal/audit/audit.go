// Package audit makes, of a policy and of where its events are to go, what
// records requests: upstream's policy, backends, buffers and truncation, put
// together as kube-apiserver does.
//
// It must not know what is recorded: the events are made by upstream's filters
// and by who answers.
package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/audit/policy"
	webhookutil "k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/apiserver/plugin/pkg/audit/buffered"
	pluginlog "k8s.io/apiserver/plugin/pkg/audit/log"
	"k8s.io/apiserver/plugin/pkg/audit/truncate"
	pluginwebhook "k8s.io/apiserver/plugin/pkg/audit/webhook"
)

// Modes of delivery.
const (
	// Batch keeps events in a buffer and delivers many at once; those that the
	// buffer has no room for are lost.
	Batch = "batch"
	// Blocking has requests wait until their events are delivered.
	Blocking = "blocking"
	// BlockingStrict refuses requests whose first event cannot be delivered, too.
	BlockingStrict = "blocking-strict"
)

// Options say what is recorded of requests, and where. Each field means what
// kube-apiserver's flag does; begin with Defaults.
type Options struct {
	// PolicyFile says what is recorded of which requests. Without one, nothing
	// is.
	PolicyFile string
	Log        LogOptions
	Webhook    WebhookOptions
}

// LogOptions are those of the log.
type LogOptions struct {
	// Path is the file, "-" for standard output, or empty for no log.
	Path string
	// Format is "json" or "legacy", a line of text.
	Format string
	// MaxSize is how many megabytes the file may have before it is put aside
	// under the name of that moment; 0 for any number. Of the files put aside,
	// MaxBackups are kept, for MaxAge days; 0 keeps all, and for ever. Compress
	// has them compressed.
	MaxSize, MaxBackups, MaxAge int
	Compress                    bool
	Delivery
}

// WebhookOptions are those of the server that events are posted to.
type WebhookOptions struct {
	// ConfigFile is a kubeconfig that tells where it is; empty for none.
	ConfigFile string
	// InitialBackoff is how long it takes until what failed is tried again, for
	// the first time.
	InitialBackoff time.Duration
	Delivery
}

// Delivery is how events reach where they go.
type Delivery struct {
	// Mode is Batch, Blocking or BlockingStrict.
	Mode string
	// Batch is for the mode Batch alone.
	Batch buffered.BatchConfig
	// TruncateEnabled has events that are too large lose what is largest.
	TruncateEnabled bool
	Truncate        truncate.Config
	// Version is the group and version of the events.
	Version string
}

// Defaults are kube-apiserver's: no policy, and so nothing recorded.
func Defaults() *Options {
	version := auditv1.SchemeGroupVersion.String()
	limits := truncate.Config{MaxBatchSize: 10 << 20, MaxEventSize: 100 << 10}
	const bufferSize = 10000
	return &Options{
		Log: LogOptions{
			Format: pluginlog.FormatJson, MaxSize: 100, MaxBackups: 100, MaxAge: 366,
			Delivery: Delivery{
				Mode: Blocking, Truncate: limits, Version: version,
				Batch: buffered.BatchConfig{BufferSize: bufferSize, MaxBatchSize: 1},
			},
		},
		Webhook: WebhookOptions{
			InitialBackoff: pluginwebhook.DefaultInitialBackoffDelay,
			Delivery: Delivery{
				Mode: Batch, Truncate: limits, Version: version,
				Batch: buffered.BatchConfig{
					BufferSize: bufferSize, MaxBatchSize: 400, MaxBatchWait: 30 * time.Second,
					ThrottleEnable: true, ThrottleQPS: 10, ThrottleBurst: 15, AsyncDelegate: true,
				},
			},
		},
	}
}

// Validate tells what is wrong with the options, in one line.
func (o *Options) Validate() error {
	if o.Log.Path != "" {
		if err := o.Log.validate("log"); err != nil {
			return err
		}
		if !slices.Contains(pluginlog.AllowedFormats, o.Log.Format) {
			return fmt.Errorf("audit log format %q is not known; use one of %s", o.Log.Format, strings.Join(pluginlog.AllowedFormats, ", "))
		}
		if min(o.Log.MaxAge, o.Log.MaxBackups, o.Log.MaxSize) < 0 {
			return errors.New("the audit log's greatest age, number of backups and size must not be negative; 0 is no limit")
		}
	}
	if o.Webhook.ConfigFile != "" {
		return o.Webhook.validate("webhook")
	}
	return nil
}

func (d *Delivery) validate(name string) error {
	if modes := []string{Batch, Blocking, BlockingStrict}; !slices.Contains(modes, d.Mode) {
		return fmt.Errorf("audit %s mode %q is not known; use one of %s", name, d.Mode, strings.Join(modes, ", "))
	}
	if b := d.Batch; d.Mode == Batch {
		switch {
		case b.BufferSize <= 0:
			return fmt.Errorf("the size of the audit %s's buffer must be more than 0", name)
		case b.MaxBatchSize <= 0:
			return fmt.Errorf("the size of the audit %s's batches must be more than 0", name)
		case b.ThrottleEnable && (b.ThrottleQPS <= 0 || b.ThrottleBurst <= 0):
			return fmt.Errorf("how many batches the audit %s takes, a second and at once, must be more than 0", name)
		}
	}
	switch t := d.Truncate; {
	case t.MaxEventSize <= 0:
		return fmt.Errorf("the size from which the audit %s's events are truncated must be more than 0", name)
	case t.MaxBatchSize < t.MaxEventSize:
		return fmt.Errorf("the size of the audit %s's batches must not be less than that of an event", name)
	}
	if d.Version != auditv1.SchemeGroupVersion.String() {
		return fmt.Errorf("version %q of the audit %s's events is not known; use %s", d.Version, name, auditv1.SchemeGroupVersion)
	}
	return nil
}

// Auditor records requests. A nil one records nothing.
type Auditor struct {
	policy  audit.PolicyRuleEvaluator
	backend audit.Backend
	closers []io.Closer
	stop    chan struct{}
}

// New returns what the options ask for, running; nil if that is nothing.
func New(o *Options) (*Auditor, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.PolicyFile == "" {
		return nil, nil
	}
	rules, err := policy.LoadPolicyFromFile(o.PolicyFile)
	if err != nil {
		return nil, fmt.Errorf("loading the audit policy: %w", err)
	}
	a := &Auditor{policy: policy.NewPolicyRuleEvaluator(rules), stop: make(chan struct{})}
	var backends []audit.Backend
	// First what may fail and opens nothing.
	if o.Webhook.ConfigFile != "" {
		backend, err := o.Webhook.backend()
		if err != nil {
			return nil, fmt.Errorf("the audit webhook: %w", err)
		}
		backends = append(backends, backend)
	}
	if o.Log.Path != "" {
		w, err := o.Log.open()
		if err != nil {
			return nil, fmt.Errorf("opening the audit log: %w", err)
		}
		if w != os.Stdout {
			a.closers = append(a.closers, w)
		}
		backends = slices.Insert(backends, 0, o.Log.wrap(o.Log.backend(w)))
	}
	if len(backends) == 0 {
		return nil, nil
	}
	a.backend = audit.Union(backends...)
	if err := a.backend.Run(a.stop); err != nil {
		return nil, errors.Join(err, a.Stop(context.Background()))
	}
	return a, nil
}

func (o *WebhookOptions) backend() (audit.Backend, error) {
	backoff := webhookutil.DefaultRetryBackoffWithInitialDelay(o.InitialBackoff)
	b, err := pluginwebhook.NewBackend(o.ConfigFile, o.version(), backoff, nil)
	if err != nil {
		return nil, err
	}
	return o.wrap(b), nil
}

// open opens the log, which only its owner can read if it is not there yet.
func (o *LogOptions) open() (io.WriteCloser, error) {
	if o.Path == "-" {
		return os.Stdout, nil
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o700); err != nil {
		return nil, err
	}
	r := &rolling{
		path: o.Path, maxSize: int64(o.MaxSize) << 20, maxBackups: o.MaxBackups, maxAge: time.Duration(o.MaxAge) * 24 * time.Hour,
		compress: o.Compress, now: time.Now,
	}
	return r, r.start()
}

// backend returns what writes events to w.
func (o *LogOptions) backend(w io.Writer) audit.Backend {
	if o.Format == pluginlog.FormatJson && o.version() == auditv1.SchemeGroupVersion {
		return newLines(w)
	}
	return pluginlog.NewBackend(w, o.Format, o.version())
}

func (d *Delivery) version() schema.GroupVersion {
	gv, _ := schema.ParseGroupVersion(d.Version) // it is valid
	return gv
}

// wrap puts before a backend what its mode and limits ask for.
func (d *Delivery) wrap(b audit.Backend) audit.Backend {
	switch d.Mode {
	case Batch:
		config := d.Batch
		if config.AsyncDelegate {
			b, config.AsyncDelegate = newDeliveries(b), false
		}
		b = buffered.NewBackend(b, config)
	case Blocking:
		b = lenient{b}
	}
	if d.TruncateEnabled {
		b = truncate.NewBackend(b, d.Truncate, d.version())
	}
	return b
}

// lenient is a backend whose failures fail no request.
type lenient struct{ audit.Backend }

func (l lenient) ProcessEvents(events ...*auditinternal.Event) bool {
	l.Backend.ProcessEvents(events...)
	return true
}

// Sink is where events go, nil if nowhere, and Policy says which.
func (a *Auditor) Sink() audit.Sink {
	if a == nil {
		return nil
	}
	return a.backend
}

// Policy says what is recorded of a request; nil if nothing is of any.
func (a *Auditor) Policy() audit.PolicyRuleEvaluator {
	if a == nil {
		return nil
	}
	return a.policy
}

// Stop delivers what is buffered and closes the log. Requests must have ended.
// If ctx ends first, deliveries that still run are given up; they end by
// themselves, after their last try.
func (a *Auditor) Stop(ctx context.Context) error {
	if a == nil {
		return nil
	}
	close(a.stop)
	delivered := make(chan struct{})
	go func() {
		defer close(delivered)
		a.backend.Shutdown()
	}()
	var err error
	select {
	case <-delivered:
	case <-ctx.Done():
		err = fmt.Errorf("audit events were not delivered in time: %w", context.Cause(ctx))
	}
	for _, c := range a.closers {
		err = errors.Join(err, c.Close())
	}
	return err
}
