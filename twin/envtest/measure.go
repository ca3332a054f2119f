package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// meter looks at the processes of the servers while tests run.
type meter struct {
	assets string
	end    chan struct{}
	ended  sync.WaitGroup
	most   int64
	cpu    map[int]time.Duration // of each process, when it was last seen
}

// measure begins to look at the processes that were started from a directory.
func measure(assets string) *meter {
	m := &meter{assets: assets, end: make(chan struct{}), cpu: map[int]time.Duration{}}
	m.ended.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-m.end:
				return
			case <-tick.C:
				m.look()
			}
		}
	})
	return m
}

// stop returns what was seen, and whether some process is still there some time later,
// which is ended then.
func (m *meter) stop() (most int64, cpu time.Duration, left bool) {
	close(m.end)
	m.ended.Wait()
	for _, c := range m.cpu {
		cpu += c
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if len(m.servers()) == 0 {
			return m.most, cpu, false
		}
		if time.Now().After(deadline) {
			for _, pid := range m.servers() {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have gone
			}
			return m.most, cpu, true
		}
	}
}

func (m *meter) look() {
	var sum int64
	for _, pid := range m.servers() {
		sum += proportional(pid)
		if c, ok := used(pid); ok {
			m.cpu[pid] = c
		}
	}
	m.most = max(m.most, sum)
}

// servers are the processes that run programs of the directory.
func (m *meter) servers() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue // it has gone
		}
		program, _, _ := bytes.Cut(line, []byte{0})
		if filepath.Dir(string(program)) == m.assets && filepath.Base(string(program)) != "kubectl" {
			pids = append(pids, pid)
		}
	}
	return pids
}

// proportional is the memory of a process, in which what it shares counts in part.
func proportional(pid int) int64 {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(content)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "Pss:" {
			kilobytes, _ := strconv.ParseInt(fields[1], 10, 64)
			return kilobytes << 10
		}
	}
	return 0
}

// used is the time that a process has spent on processors, which Linux tells in hundredths
// of a second.
func used(pid int) (time.Duration, bool) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	_, after, ok := strings.Cut(string(content), ") ") // the name may have spaces
	fields := strings.Fields(after)
	if !ok || len(fields) < 13 {
		return 0, false
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, err1 == nil && err2 == nil
}
