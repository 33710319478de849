package main

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// settle is how long a waiter stands in line before the lock is released, as in work/handover.mjs: etcd takes up to 100 ms
// to serve a watch that begins in the past, as those of Mutex do.
const settle = 150 * time.Millisecond

type handovers struct {
	Ms []float64 `json:"ms"`
}

// handover lets two sessions, each with a client of its own, take turns. It measures from before the unlock of one to
// after the lock of the other.
func handover(t task) (*handovers, error) {
	ctx := context.Background()
	var sides [2]*concurrency.Session
	for i := range sides {
		client, err := connect(t)
		if err != nil {
			return nil, err
		}
		defer client.Close()
		if sides[i], err = newSession(client); err != nil {
			return nil, err
		}
		defer sides[i].Close()
	}
	name := t.Namespace + "handover"
	holder := concurrency.NewMutex(sides[0], name)
	if err := holder.Lock(ctx); err != nil {
		return nil, err
	}
	result := &handovers{Ms: []float64{}}
	for round := range t.Rounds {
		next := concurrency.NewMutex(sides[(round+1)%2], name)
		type grant struct {
			at  time.Time
			err error
		}
		granted := make(chan grant, 1)
		go func() {
			err := next.Lock(ctx)
			granted <- grant{time.Now(), err}
		}()
		if err := inLine(ctx, sides[0].Client(), name); err != nil {
			return nil, err
		}
		started := time.Now()
		if err := holder.Unlock(ctx); err != nil {
			return nil, err
		}
		got := <-granted
		if got.err != nil {
			return nil, got.err
		}
		result.Ms = append(result.Ms, millis(got.at.Sub(started)))
		holder = next
	}
	return result, holder.Unlock(ctx)
}

// inLine returns when one waits behind the holder.
func inLine(ctx context.Context, client *clientv3.Client, name string) error {
	for {
		answer, err := client.Get(ctx, name+"/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			return err
		}
		if answer.Count > 1 {
			time.Sleep(settle)
			return nil
		}
		time.Sleep(time.Millisecond)
	}
}
