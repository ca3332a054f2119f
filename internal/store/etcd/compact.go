package etcd

import (
	"context"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/klog/v2"
)

// compactKey is where the servers that share a cluster agree on who compacts it.
// Its version counts compactions.
const compactKey = "compact_rev_key"

// runCompactor compacts the cluster as each kube-apiserver does: whoever finds the
// key as he left it, or as he found it the last time, counts on and compacts at
// the revision of the time before. So it is compacted once in an interval, by one
// of those there are, and what is younger than the interval stays.
func (s *Store) runCompactor() {
	var c compaction
	timer := time.NewTicker(s.o.CompactionInterval)
	defer timer.Stop()
	for {
		select {
		case <-s.life.Done():
			return
		case <-timer.C:
		}
		ctx, cancel := context.WithTimeout(s.life, s.o.CompactionInterval)
		if err := c.run(ctx, s.client); err != nil && s.life.Err() == nil {
			klog.Warningf("etcd could not be compacted: %v", err)
		}
		cancel()
	}
}

// compaction is what was found the last time.
type compaction struct {
	count int64 // the key's version
	rev   int64 // etcd's revision
}

func (c *compaction) run(ctx context.Context, client *clientv3.Client) error {
	resp, err := client.Txn(ctx).
		If(clientv3.Compare(clientv3.Version(compactKey), "=", c.count)).
		Then(clientv3.OpPut(compactKey, strconv.FormatInt(c.rev, 10))).
		Else(clientv3.OpGet(compactKey)).
		Commit()
	if err != nil {
		return err
	}
	at := c.rev
	c.rev = resp.Header.Revision
	if !resp.Succeeded { // another has counted since
		c.count = 0
		if kvs := resp.Responses[0].GetResponseRange().GetKvs(); len(kvs) > 0 {
			c.count = kvs[0].Version
		}
		return nil
	}
	c.count++
	if at == 0 { // the first time nothing is old
		return nil
	}
	_, err = client.Compact(ctx, at)
	return err
}
