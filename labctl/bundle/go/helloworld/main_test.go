package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

var here = place{Pod: "web-1", Namespace: "demo", Node: "worker-2", IP: "10.0.0.7"}

func get(t *testing.T, path string) (*http.Response, string) {
	t.Helper()
	pages, err := handler(here)
	if err != nil {
		t.Fatal(err)
	}
	recorder := httptest.NewRecorder()
	pages.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
	answer := recorder.Result()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func TestThePageNamesPodAndNode(t *testing.T) {
	answer, body := get(t, "/")
	for _, wanted := range []string{"<h1>Hello World</h1>", "web-1", "demo", "worker-2", "10.0.0.7"} {
		if !strings.Contains(body, wanted) {
			t.Errorf("the page lacks %q", wanted)
		}
	}
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") {
		t.Errorf("got %d %s", answer.StatusCode, answer.Header.Get("Content-Type"))
	}
}

func TestTheOtherPaths(t *testing.T) {
	for path, wanted := range map[string]string{"/healthz": "ok", "/api": `{"node":"worker-2","pod":"web-1"}` + "\n"} {
		if answer, body := get(t, path); body != wanted || answer.StatusCode != http.StatusOK {
			t.Errorf("%s: got %d %q", path, answer.StatusCode, body)
		}
	}
}

func TestEveryAnswerSaysWhoGaveIt(t *testing.T) {
	for path, wanted := range map[string]int{"/": 200, "/api": 200, "/healthz": 200, "/nowhere": 404} {
		answer, _ := get(t, path)
		if answer.StatusCode != wanted || answer.Header.Get("X-Pod") != "web-1" || answer.Header.Get("X-Node") != "worker-2" {
			t.Errorf("%s: got %d %v", path, answer.StatusCode, answer.Header)
		}
	}
}

func TestARunningRequestIsFinishedAtTheEnd(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	arrived, release := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		_, _ = w.Write([]byte("late"))
	})
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, listener, slow) }()
	body := make(chan string, 1)
	go func() {
		answer, err := http.Get("http://" + listener.Addr().String())
		if err != nil {
			body <- err.Error()
			return
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		body <- string(text)
	}()
	<-arrived
	stop()
	select {
	case err := <-ended:
		t.Fatalf("it ended with a request running: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(release)
	if got := <-body; got != "late" {
		t.Errorf("the request got %q", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}
