// Package swarm answers operations of Docker's Swarm and plugins as a Docker without them does.
package swarm

import (
	"net/http"

	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// notManager is Docker's answer on a host that is not a manager of a swarm.
const notManager = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect " +
	"this node to swarm and try again."

// Operations returns the operations.
func Operations() []httpapi.Operation {
	var all []httpapi.Operation
	add := func(handle httpapi.Handler, paths map[string][]string) {
		for method, list := range paths {
			for _, path := range list {
				all = append(all, httpapi.Operation{Method: method, Path: path, Handle: handle})
			}
		}
	}

	get, post, del := http.MethodGet, http.MethodPost, http.MethodDelete
	add(unavailable, map[string][]string{
		get: {"/swarm", "/swarm/unlockkey", "/nodes", "/nodes/{id}", "/services", "/services/{id}",
			"/services/{id}/logs",
			"/tasks", "/tasks/{id}", "/tasks/{id}/logs", "/secrets", "/secrets/{id}", "/configs", "/configs/{id}"},
		post: {"/swarm/update", "/swarm/unlock", "/nodes/{id}/update", "/services/create", "/services/{id}/update",
			"/secrets/create", "/secrets/{id}/update", "/configs/create", "/configs/{id}/update"},
		del: {"/nodes/{id}", "/services/{id}", "/secrets/{id}", "/configs/{id}"},
	})
	add(notSupported("Swarm mode is not supported; see the commands of fairlead fleet for several hosts"),
		map[string][]string{post: {"/swarm/init", "/swarm/join"}})
	add(leave, map[string][]string{post: {"/swarm/leave"}})

	add(noPlugins, map[string][]string{get: {"/plugins"}})
	add(noPlugin, map[string][]string{
		get: {"/plugins/{name...}/json"}, del: {"/plugins/{name...}"},
		post: {"/plugins/{name...}/enable", "/plugins/{name...}/disable", "/plugins/{name...}/push",
			"/plugins/{name...}/upgrade", "/plugins/{name...}/set"},
	})
	add(notSupported("plugins are not supported"), map[string][]string{
		get: {"/plugins/privileges"}, post: {"/plugins/pull", "/plugins/create"}})
	return all
}

func unavailable(http.ResponseWriter, *httpapi.Request) error {
	return httpapi.Errorf(http.StatusServiceUnavailable, "%s", notManager)
}

func leave(http.ResponseWriter, *httpapi.Request) error {
	return httpapi.Errorf(http.StatusServiceUnavailable, "This node is not part of a swarm")
}

func notSupported(message string) httpapi.Handler {
	return func(http.ResponseWriter, *httpapi.Request) error {
		return httpapi.Errorf(http.StatusNotImplemented, "%s", message)
	}
}

func noPlugins(w http.ResponseWriter, _ *httpapi.Request) error {
	return httpapi.WriteJSON(w, http.StatusOK, []struct{}{})
}

func noPlugin(_ http.ResponseWriter, r *httpapi.Request) error {
	return httpapi.Errorf(http.StatusNotFound, "plugin %q not found", r.Name())
}
