// A program in a module of its own, with a server inside.
package main

import (
	"context"
	"fmt"
	"log"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/knarr-io/knarr"
)

func main() {
	ctx := context.Background()
	server, err := knarr.Start(ctx, knarr.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Stop(ctx)
	client, err := kubernetes.NewForConfig(server.ClientConfig())
	if err != nil {
		log.Fatal(err)
	}
	namespaces, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, ns := range namespaces.Items {
		fmt.Println(ns.Name)
	}
}
