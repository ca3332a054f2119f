package health

import (
	"errors"
	"net/http"
	"sync"
	"time"
)

// Ping never fails.
func Ping() Check {
	return Check{Name: "ping", On: All, Check: func(*http.Request) error { return nil }}
}

// Log fails while the log cannot be written: when a call of flush, made at most
// once a minute and only because someone asks, takes two minutes. flush runs in
// a goroutine of its own, one at a time, that ends with it.
func Log(flush func()) Check {
	l := &logCheck{flush: flush}
	return Check{Name: "log", On: All, Check: func(*http.Request) error { return l.check(time.Now()) }}
}

type logCheck struct {
	flush func()

	mu struct {
		sync.Mutex
		began    time.Time // the last flush
		flushing bool
	}
}

func (l *logCheck) check(now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	age := now.Sub(l.mu.began)
	if l.mu.flushing {
		if age >= 2*time.Minute {
			return errors.New("logging blocked")
		}
		return nil
	}
	if age >= time.Minute {
		l.mu.began, l.mu.flushing = now, true
		go func() {
			l.flush()
			l.mu.Lock()
			defer l.mu.Unlock()
			l.mu.flushing = false
		}()
	}
	return nil
}
