// Package report holds what every Go program here shares: the addresses to test, small assertions, and the report
// printed last.
package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// The servers to test, HOST:PORT each.
var (
	Address  = os.Getenv("MILLPOND_HOST") + ":" + os.Getenv("MILLPOND_PORT")
	NoHello  = "127.0.0.1:" + os.Getenv("MILLPOND_NO_HELLO_PORT")
	Password = os.Getenv("MILLPOND_PASSWORD")
)

// MiB is the size of the large values, in bytes.
const MiB = 1 << 20

// longest healthy check; a lost reply must become a failure, not a hang.
const checkLimit = 20 * time.Second

// failure ends a check; Run turns it into the reason.
type failure string

// PasswordAddress is the server with a password; a check that asks fails when there is none.
func PasswordAddress() string {
	if os.Getenv("MILLPOND_PASSWORD_PORT") == "" {
		panic(failure("no server with a password: give --password-address"))
	}
	return os.Getenv("MILLPOND_PASSWORD_HOST") + ":" + os.Getenv("MILLPOND_PASSWORD_PORT")
}

// ModuleVersion is the version of a module in this build.
func ModuleVersion(path string) string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == path {
			return strings.TrimPrefix(module.Version, "v")
		}
	}
	return "?"
}

// Report collects one verdict per check.
type Report struct {
	Client  string            `json:"client"`
	Version string            `json:"version"`
	Checks  map[string]string `json:"checks"`
}

// New starts an empty report.
func New(client, version string) *Report {
	return &Report{client, version, map[string]string{}}
}

// Run runs one check; a failing check never stops the next one.
func (r *Report) Run(name string, check func()) {
	if _, twice := r.Checks[name]; twice {
		panic("two checks are called " + name)
	}
	verdict := make(chan string, 1)
	go func() {
		defer func() {
			if reason := recover(); reason != nil {
				verdict <- fmt.Sprintf("%s: %.400v", place(), reason)
			}
		}()
		check()
		verdict <- "ok"
	}()
	select {
	case r.Checks[name] = <-verdict:
	case <-time.After(checkLimit):
		r.Checks[name] = fmt.Sprintf("not finished after %v", checkLimit)
	}
}

// place is the line of the program that failed.
func place() string {
	frames := make([]uintptr, 32)
	walk := runtime.CallersFrames(frames[:runtime.Callers(0, frames)])
	for {
		frame, more := walk.Next()
		if strings.Contains(frame.File, "/cmd/") && strings.HasPrefix(frame.Function, "main.") {
			return fmt.Sprintf("%s:%d", filepath.Base(frame.File), frame.Line)
		}
		if !more {
			return "?"
		}
	}
}

// Print writes the report as the last line.
func (r *Report) Print() {
	line, _ := json.Marshal(r)
	fmt.Println(string(line))
}

// Fail ends the check with a reason.
func Fail(format string, values ...any) {
	panic(failure(fmt.Sprintf(format, values...)))
}

// Same fails unless both are deeply equal.
func Same(actual, wanted any) {
	if !reflect.DeepEqual(actual, wanted) {
		Fail("got %.200q, wanted %.200q", fmt.Sprintf("%T %v", actual, actual), fmt.Sprintf("%T %v", wanted, wanted))
	}
}

// Between fails unless low <= actual <= high.
func Between[T int | int64 | float64 | time.Duration](low, actual, high T) {
	if actual < low || actual > high {
		Fail("got %v, wanted %v to %v", actual, low, high)
	}
}

// Ok fails on an error and passes the value on.
func Ok[T any](value T, err error) T {
	if err != nil {
		Fail("unexpected error: %v", err)
	}
	return value
}

// Good fails on an error.
func Good(err error) {
	if err != nil {
		Fail("unexpected error: %v", err)
	}
}

// Error fails unless there is an error with the text in it.
func Error(err error, text string) {
	if err == nil {
		Fail("no error, wanted one with %q", text)
	}
	if !strings.Contains(err.Error(), text) {
		Fail("got the error %q, wanted one with %q", err, text)
	}
}

// Eventually calls the function until it gives true, at most for five seconds.
func Eventually(what string, condition func() bool) {
	deadline := time.Now().Add(5 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			Fail("%s is not so after 5 s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Together runs the function in many goroutines and fails with the first failure among them.
func Together(count int, work func(number int)) {
	failures := make(chan any, count)
	for number := range count {
		go func() {
			defer func() { failures <- recover() }()
			work(number)
		}()
	}
	var first any
	for range count {
		if met := <-failures; met != nil && first == nil {
			first = met
		}
	}
	if first != nil {
		panic(first)
	}
}
