// Offers HTTP requests at a fixed rate, whatever comes back (open loop), over a number of kept-alive connections, and
// asks a probe all the while on connections of its own. Prints one JSON object. Latency counts from the moment at which
// a request was due, so waiting for a free connection is part of it.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const mark = "00000000-0000-4000-8000-000000000000" // replaced by an id of the request

type job struct {
	number int
	due    time.Time
}

type worker struct {
	address  string
	requests [][]byte
	statuses map[string]int
	by       []map[string]int
	times    []float64
	accepted []float64
}

func (w *worker) run(jobs <-chan job, deadline time.Time) {
	var connection net.Conn
	var reader *bufio.Reader
	for each := range jobs {
		if time.Now().After(deadline) {
			w.statuses["unsent"]++
			continue
		}
		which := each.number % len(w.requests)
		status := "error"
		for attempt := 0; attempt < 2; attempt++ {
			if connection == nil {
				made, err := net.DialTimeout("tcp", w.address, 5*time.Second)
				if err != nil {
					continue
				}
				connection, reader = made, bufio.NewReaderSize(made, 4096)
			}
			connection.SetDeadline(time.Now().Add(30 * time.Second))
			id := fmt.Sprintf("%08d-%04d-4000-8000-%012d", each.number, os.Getpid()%10000, time.Now().UnixNano()%1e12)
			found, closed, err := exchange(connection, reader, bytes.Replace(w.requests[which], []byte(mark), []byte(id), 1))
			if err != nil || closed {
				connection.Close()
				connection = nil
			}
			if err == nil {
				status = found
				break
			}
		}
		w.statuses[status]++
		w.by[which][status]++
		took := time.Since(each.due).Seconds() * 1000
		w.times = append(w.times, took)
		if status == "202" {
			w.accepted = append(w.accepted, took)
		}
	}
}

func exchange(connection net.Conn, reader *bufio.Reader, request []byte) (string, bool, error) {
	if _, err := connection.Write(request); err != nil {
		return "", true, err
	}
	line, err := reader.ReadString('\n')
	if err != nil || len(line) < 12 {
		return "", true, io.ErrUnexpectedEOF
	}
	length, closed := 0, false
	for {
		header, err := reader.ReadString('\n')
		if err != nil {
			return "", true, err
		}
		header = strings.ToLower(strings.TrimSpace(header))
		if header == "" {
			break
		}
		if value, found := strings.CutPrefix(header, "content-length:"); found {
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		}
		closed = closed || header == "connection: close"
	}
	_, err = reader.Discard(length)
	return line[9:12], closed, err
}

func probe(address, path string, until time.Time) []float64 {
	var times []float64
	for time.Now().Before(until) {
		due := time.Now()
		connection, err := net.DialTimeout("tcp", address, 5*time.Second)
		if err == nil {
			connection.SetDeadline(time.Now().Add(5 * time.Second))
			request := "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
			status, _, err := exchange(connection, bufio.NewReader(connection), []byte(request))
			if err != nil || status != "200" {
				due = due.Add(-5 * time.Second)
			}
			connection.Close()
		} else {
			due = due.Add(-5 * time.Second)
		}
		times = append(times, time.Since(due).Seconds()*1000)
		time.Sleep(20 * time.Millisecond)
	}
	return times
}

func percentiles(times []float64) map[string]float64 {
	sort.Float64s(times)
	if len(times) == 0 {
		return map[string]float64{}
	}
	at := func(share float64) float64 { return times[min(int(share*float64(len(times))), len(times)-1)] }
	return map[string]float64{"p50": at(0.5), "p99": at(0.99), "max": times[len(times)-1], "count": float64(len(times))}
}

func main() {
	address := flag.String("address", "", "host:port of the webhooks")
	probed := flag.String("probe", "", "host:port of the probes")
	rate := flag.Float64("rate", 1000, "requests a second")
	seconds := flag.Float64("seconds", 10, "how long")
	connections := flag.Int("connections", 64, "connections")
	flag.Parse()
	var requests [][]byte
	for _, name := range flag.Args() {
		request, err := os.ReadFile(name)
		if err != nil {
			panic(err)
		}
		requests = append(requests, request)
	}
	total := int(*rate * *seconds)
	jobs := make(chan job, total)
	start := time.Now()
	end := start.Add(time.Duration((*seconds + 10) * float64(time.Second)))
	var waiting sync.WaitGroup
	workers := make([]*worker, *connections)
	for i := range workers {
		w := &worker{address: *address, requests: requests, statuses: map[string]int{}}
		for range requests {
			w.by = append(w.by, map[string]int{})
		}
		workers[i] = w
		waiting.Add(1)
		go func() { defer waiting.Done(); w.run(jobs, end) }()
	}
	probes := make(chan []float64, 1)
	go func() {
		if *probed == "" {
			probes <- nil
			return
		}
		probes <- probe(*probed, "/alive", start.Add(time.Duration(*seconds*float64(time.Second))))
	}()
	for number := 0; number < total; number++ {
		due := start.Add(time.Duration(float64(number) / *rate * float64(time.Second)))
		if wait := time.Until(due); wait > time.Millisecond {
			time.Sleep(wait)
		}
		jobs <- job{number, due}
	}
	offered := time.Since(start).Seconds()
	close(jobs)
	waiting.Wait()
	statuses, by := map[string]int{}, make([]map[string]int, len(requests))
	var times, accepted []float64
	for i := range by {
		by[i] = map[string]int{}
	}
	for _, w := range workers {
		for status, count := range w.statuses {
			statuses[status] += count
		}
		for i := range by {
			for status, count := range w.by[i] {
				by[i][status] += count
			}
		}
		times, accepted = append(times, w.times...), append(accepted, w.accepted...)
	}
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	cpu := float64(usage.Utime.Sec+usage.Stime.Sec) + float64(usage.Utime.Usec+usage.Stime.Usec)/1e6
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"offered": total, "offered_s": offered, "took_s": time.Since(start).Seconds(), "statuses": statuses, "by": by,
		"all": percentiles(times), "accepted": percentiles(accepted), "probe": percentiles(<-probes), "cpu_s": cpu,
	})
}
