// Helloworld is a web server that says which pod on which node answered.
//
// It listens on the port of -port or PORT (80). The downward API fills POD_NAME, POD_NAMESPACE, NODE_NAME and POD_IP.
//
//	/         the page          /api      {"pod": ..., "node": ...}
//	/healthz  ok
//
// Every response carries the headers X-Pod and X-Node. On SIGTERM or SIGINT it takes no more requests, finishes those
// that are running (8 seconds at most) and ends with exit code 0.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	graceful   = 8 * time.Second
	headerTime = 5 * time.Second
)

// version is set when linking.
var version = "unknown"

//go:embed page.html
var pageSource string

// place is where this process runs.
type place struct {
	Pod       string
	Namespace string
	Node      string
	IP        string
}

func env(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

// whereami asks the environment, then the host.
func whereami() place {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return place{
		Pod:       env("POD_NAME", host),
		Namespace: env("POD_NAMESPACE", "unknown"),
		Node:      env("NODE_NAME", host),
		IP:        env("POD_IP", "unknown"),
	}
}

// handler serves the three paths for the pod at `here`.
func handler(here place) (http.Handler, error) {
	parsed, err := template.New("page").Parse(pageSource)
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	if err := parsed.Execute(&page, here); err != nil {
		return nil, err
	}
	api, err := json.Marshal(map[string]string{"pod": here.Pod, "node": here.Node})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", fixed("text/html; charset=utf-8", page.Bytes()))
	mux.Handle("GET /api", fixed("application/json", append(api, '\n')))
	mux.Handle("GET /healthz", fixed("text/plain; charset=utf-8", []byte("ok")))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Pod", here.Pod)
		w.Header().Set("X-Node", here.Node)
		w.Header().Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	}), nil
}

// fixed answers with the same body each time.
func fixed(kind string, body []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(body)
	})
}

// serve answers on `listener` until `ctx` ends, then lets running requests finish.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: headerTime}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.Background(), graceful)
	defer cancel()
	if err := server.Shutdown(ending); err != nil {
		return err
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func run() error {
	port := flag.String("port", env("PORT", "80"), "the port to listen on")
	show := flag.Bool("version", false, "print the version and end")
	flag.Parse()
	if *show {
		fmt.Println("helloworld", version)
		return nil
	}
	here := whereami()
	pages, err := handler(here)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	listener, err := net.Listen("tcp", ":"+*port)
	if err != nil {
		return err
	}
	log.Printf("helloworld %s: pod %s on node %s listens on %s", version, here.Pod, here.Node, listener.Addr())
	return serve(ctx, listener, pages)
}

func main() {
	if err := run(); err != nil {
		log.Fatal("helloworld: ", err)
	}
}
