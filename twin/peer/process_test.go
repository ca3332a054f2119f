package peer

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func startShell(t *testing.T, script string) *process {
	t.Helper()
	p, err := start("shell", filepath.Join(t.TempDir(), "log"), nil, "/bin/sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.stop(time.Second) })
	return p
}

func TestStopEndsTheWholeGroup(t *testing.T) {
	p := startShell(t, `trap "" TERM; sleep 1000 & echo started >&2; wait; wait`)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if content, _ := os.ReadFile(p.log); len(content) > 0 {
			break
		}
	}
	p.stop(50 * time.Millisecond)
	// The kernel reaps the killed children at its own pace.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if err := syscall.Kill(-p.cmd.Process.Pid, 0); err == syscall.ESRCH {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("something of the group still runs")
		}
	}
}

func TestMeasuresARunningProcess(t *testing.T) {
	p := startShell(t, `while :; do :; done`)
	var spent time.Duration
	for deadline := time.Now().Add(20 * time.Second); spent < 5*clockTick && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var err error
		if spent, err = p.cpu(); err != nil {
			t.Fatal(err)
		}
	}
	if spent < 5*clockTick {
		t.Errorf("a busy process spent %s", spent)
	}
	if size, err := p.memory(); err != nil || size < 4096 || size > 1<<30 {
		t.Errorf("a shell has %d bytes of memory (%v)", size, err)
	}
}

func TestFailureShowsTheLog(t *testing.T) {
	p := startShell(t, `echo no such thing >&2; exit 3`)
	<-p.exited
	err := poll(t.Context(), []*process{p}, func() bool { return false })
	if err == nil || !strings.Contains(err.Error(), "no such thing") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("the error is %v", err)
	}
}
