package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"

	"go.etcd.io/etcd/client/v3/concurrency"
)

// elect campaigns, prints the revision and the key of its leadership, proclaims each line of its input, and resigns on
// the end of that.
func elect(session *concurrency.Session, prefix string) error {
	election := concurrency.NewElection(session, prefix)
	if err := election.Campaign(context.Background(), "go"); err != nil {
		return err
	}
	fmt.Println(election.Rev(), election.Key())
	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
		if err := election.Proclaim(context.Background(), input.Text()); err != nil {
			return err
		}
	}
	return election.Resign(context.Background())
}

// observe prints the key and the value of each leader, until the end of its input.
func observe(session *concurrency.Session, prefix string) error {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	for response := range concurrency.NewElection(session, prefix).Observe(ctx) {
		leader := response.Kvs[0]
		fmt.Println(string(leader.Key), string(leader.Value))
	}
	return nil
}
