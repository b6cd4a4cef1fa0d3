// Command etcd is the etcd server, unchanged, as a program of its own module so that its version is pinned here.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
