// A lock of Go's client, driven by its standard input: prints what it got when it has the lock, and releases it on the
// end of its input. `try` takes it only if it is free; `elect` and `observe` are for elections.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(endpoints, prefix, how string) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: strings.Split(endpoints, ",")})
	if err != nil {
		return err
	}
	defer client.Close()
	session, err := concurrency.NewSession(client, concurrency.WithTTL(5))
	if err != nil {
		return err
	}
	defer session.Close()

	switch how {
	case "elect":
		return elect(session, prefix)
	case "observe":
		return observe(session, prefix)
	}

	mutex := concurrency.NewMutex(session, prefix)
	if how == "try" {
		err = mutex.TryLock(context.Background())
	} else {
		err = mutex.Lock(context.Background())
	}
	if errors.Is(err, concurrency.ErrLocked) {
		fmt.Println("locked")
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Println(mutex.Header().Revision, mutex.Key())
	io.Copy(io.Discard, os.Stdin)
	return mutex.Unlock(context.Background())
}
