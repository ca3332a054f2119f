package knarr

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"k8s.io/klog/v2"

	"github.com/knarr-io/knarr/internal/endpoint"
	"github.com/knarr-io/knarr/internal/state"
)

// BackupPath is where a server gives a backup of its objects, to those who may get
// that path: administrators, unless others are given the right.
const BackupPath = endpoint.BackupPath

// backups answers requests for backups. It is knarr's own.
type backups struct {
	state    *state.State
	stopping <-chan struct{}
}

func (b *backups) Handles(path string) bool { return path == BackupPath }

func (b *backups) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "405 method not allowed", http.StatusMethodNotAllowed)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-b.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	w.Header().Set("Content-Type", "application/octet-stream")
	to := &patient{w: w, control: http.NewResponseController(w)}
	err := b.state.Dump(ctx, to)
	to.deadline(time.Time{}) // the connection may serve others
	switch {
	case err == nil:
	case !to.begun && errors.Is(err, state.ErrNoDump):
		http.Error(w, err.Error(), http.StatusNotImplemented)
	case !to.begun:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		klog.ErrorS(err, "A backup was broken off")
		panic(http.ErrAbortHandler) // all that can be said by now
	}
}

// backupPatience is how long a client of a backup may take what it was sent: the
// history is kept for it meanwhile.
const backupPatience = time.Minute

// patient gives each write its time.
type patient struct {
	w       io.Writer
	control *http.ResponseController
	begun   bool
}

func (p *patient) Write(b []byte) (int, error) {
	p.begun = true
	p.deadline(time.Now().Add(backupPatience))
	return p.w.Write(b)
}

func (p *patient) deadline(t time.Time) {
	_ = p.control.SetWriteDeadline(t) // not all writers in tests can
}
