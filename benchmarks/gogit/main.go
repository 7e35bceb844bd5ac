// Lists the references of a repository with go-git, COUNT times one after another; prints seconds and CPU seconds.
package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/storage/memory"
)

func cpu() float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds()
}

func main() {
	count, _ := strconv.Atoi(os.Args[2])
	ca, _ := os.ReadFile(os.Args[3])
	remote := git.NewRemote(memory.NewStorage(), &config.RemoteConfig{Name: "origin", URLs: []string{os.Args[1]}})
	list := func() {
		if _, err := remote.List(&git.ListOptions{CABundle: ca}); err != nil {
			panic(err)
		}
	}
	list()
	began, used := time.Now(), cpu()
	for range count {
		list()
	}
	fmt.Printf("{\"seconds\": %f, \"cpu_s\": %f}\n", time.Since(began).Seconds(), cpu()-used)
}
