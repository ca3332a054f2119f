package peer

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is one running executable, in a process group of its own so that
// nothing it starts outlives it.
type process struct {
	name    string
	cmd     *exec.Cmd
	log     string
	exited  chan struct{} // closed once the process has been waited for
	waitErr error         // set before exited is closed
}

// start runs the command with its standard error (and its standard output, unless
// stdout is given) in logPath.
func start(name, logPath string, stdout *os.File, path string, args ...string) (*process, error) {
	log, err := os.Create(logPath)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(path, args...)
	cmd.Stderr = log
	cmd.Stdout = log
	if stdout != nil {
		cmd.Stdout = stdout
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: cmd, log: logPath, exited: make(chan struct{})}
	go func() {
		p.waitErr = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// stop asks the process to end, insists after the grace period, and returns once
// it and its group are gone.
func (p *process) stop(grace time.Duration) {
	group := -p.cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(grace):
	}
	_ = syscall.Kill(group, syscall.SIGKILL)
	<-p.exited
}

// failure describes why a process that should be running is not, with the end of its log.
func (p *process) failure() error {
	content, _ := os.ReadFile(p.log)
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	if len(lines) > 8 {
		lines = lines[len(lines)-8:]
	}
	return fmt.Errorf("%s ended (%v):\n%s", p.name, p.waitErr, strings.Join(lines, "\n"))
}

// clockTick is the unit of the times in /proc/PID/stat. Linux reports them to user
// space in hundredths of a second on every architecture Go supports.
const clockTick = time.Second / 100

// cpu is the time the process has spent on a processor so far, in user and kernel
// mode together, in steps of clockTick.
func (p *process) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The second field is the command in brackets and may hold spaces; see proc(5).
	_, rest, ok := bytes.Cut(stat, []byte(") "))
	fields := strings.Fields(string(rest))
	if !ok || len(fields) < 13 {
		return 0, fmt.Errorf("unexpected content of /proc/%d/stat", p.cmd.Process.Pid)
	}
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime, fields 14 and 15 of the whole line
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// memory is the resident set of the process in bytes.
func (p *process) memory() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kib * 1024, err
		}
	}
	return 0, fmt.Errorf("no VmRSS in /proc/%d/status", p.cmd.Process.Pid)
}
