// A model server that costs nothing: it answers a chat completion at once, or streams tokens at a fixed pace. Compiled,
// so that it is not what the benchmark measures.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

var whole = []byte(`{"id":"c","object":"chat.completion","model":"chat","choices":[{"index":0,"finish_reason":"stop",` +
	`"message":{"role":"assistant","content":"water falls"}}],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}`)

func chat(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if !bytes.Contains(body, []byte(`"stream":true`)) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(whole)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	flusher := w.(http.Flusher)
	for i := 0; i < 20; i++ {
		fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"w\"}}]}\n\n")
		flusher.Flush()
		time.Sleep(20 * time.Millisecond)
	}
	fmt.Fprintf(w, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":20}}\n\ndata: [DONE]\n\n")
}

func main() {
	http.HandleFunc("/v1/chat/completions", chat)
	http.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {})
	if err := http.ListenAndServe("127.0.0.1:"+os.Args[1], nil); err != nil {
		panic(err)
	}
}
