// What bench/peers and bench/work do in Node, for the Mutex of Go's client: measures what its argument, a JSON object,
// asks for, and prints one JSON object. With "hold" it does what bench/safety/hold.mjs does.
package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// ttl of the sessions in seconds, as ours by default.
const ttl = 15

type task struct {
	Task      string // load, handover or hold
	Server    string
	Namespace string
	ServerPid int

	Sessions int    // clients, each with a connection of its own
	Callers  int    // loops at the same time, dealt out over the clients
	Names    string // new, own or one
	Warm     int    // milliseconds before the measurement begins
	Ms       int    // how long it lasts

	Rounds int // of a hand-over

	Hosts  []string // of those that hold
	Ttl    int      // of their sessions, in milliseconds
	Count  int      // how many they are, each with a client of its own
	Spread float64  // in how many milliseconds they begin
}

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(argument string) error {
	var t task
	if err := json.Unmarshal([]byte(argument), &t); err != nil {
		return err
	}
	if t.Task == "hold" {
		return hold(t)
	}
	var result any
	var err error
	if t.Task == "handover" {
		result, err = handover(t)
	} else {
		result, err = load(t)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

func connect(t task) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: []string{t.Server}})
}

func newSession(client *clientv3.Client) (*concurrency.Session, error) {
	return concurrency.NewSession(client, concurrency.WithTTL(ttl))
}

// quantile by nearest rank, as in stats.mjs.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sort.Float64s(values)
	return values[max(0, int(math.Ceil(q*float64(len(values))))-1)]
}
