package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	widgets     = "/apis/bench.example.com/v1/namespaces/" + namespace + "/widgets"
	// servedWithin is how long a definition may take to be served.
	servedWithin = 30 * time.Second
)

// doCustom does with custom resources what was done with native ones.
func (w *work) doCustom(r *report) error {
	if err := w.define(); err != nil {
		return fmt.Errorf("definition: %w", err)
	}
	if err := w.operations([]operation{
		{&r.createWidget, "create custom resource", w.sizes.pods, w.sizes.inFlight, w.createWidget},
		{&r.patchWidget, "merge-patch custom resource", w.sizes.patches, w.sizes.inFlight, w.patchWidget},
		{&r.getWidget, "get custom resource", w.sizes.gets, w.sizes.inFlight, w.getWidget},
		{&r.listWidgets, "list of custom resources", w.sizes.lists, 1, w.listOf(widgets, nil, &r.listWidgets)},
	}); err != nil {
		return err
	}
	if err := w.checkWidgets(); err != nil {
		return err
	}
	var err error
	if r.widgetEvent, err = w.fanOut(widgets, `{"apiVersion":"bench.example.com/v1","kind":"Widget","metadata":{"name":"watched"},"data":{"n":"none"}}`); err != nil {
		return fmt.Errorf("watch of a custom resource: %w", err)
	}
	progress(w.name, "watch of a custom resource: %s per event", r.widgetEvent.cpu)
	return nil
}

// define creates the definition and waits until it is served.
func (w *work) define() error {
	ctx, cancel := context.WithTimeout(w.ctx, servedWithin)
	defer cancel()
	if err := w.client.write(ctx, http.MethodPost, definitions, applicationJSON, []byte(definition), http.StatusCreated); err != nil {
		return err
	}
	for {
		_, err := w.client.read(ctx, widgets, nil)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (w *work) createWidget(ctx context.Context, i int) error {
	return w.client.write(ctx, http.MethodPost, widgets, applicationJSON, widgetManifest(i), http.StatusCreated)
}

func (w *work) patchWidget(ctx context.Context, i int) error {
	return w.annotate(ctx, w.someWidget(i), i)
}

func (w *work) getWidget(ctx context.Context, i int) error {
	_, err := w.client.read(ctx, w.someWidget(i), nil)
	return err
}

func (w *work) someWidget(i int) string {
	return widgets + "/" + widgetName(w.some(i))
}

// checkWidgets makes sure that a list is whole, and that defaults were set.
func (w *work) checkWidgets() error {
	body, err := w.client.content(w.ctx, widgets, nil)
	if err != nil {
		return err
	}
	var list struct {
		Items []struct {
			Spec struct{ RevisionHistoryLimit int }
		}
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return err
	}
	if len(list.Items) != w.sizes.pods {
		return fmt.Errorf("the list has %d custom resources instead of %d", len(list.Items), w.sizes.pods)
	}
	for _, item := range list.Items {
		if item.Spec.RevisionHistoryLimit != 3 {
			return fmt.Errorf("a custom resource has no default: %+v", item)
		}
	}
	return nil
}

func widgetName(i int) string { return fmt.Sprintf("widget-%05d", i) }

// widgetManifest is a custom resource of about 0.8 KB, such as a certificate.
func widgetManifest(i int) []byte {
	return fmt.Appendf(nil, `{"apiVersion":"bench.example.com/v1","kind":"Widget",
"metadata":{"name":%q,"labels":{"app.kubernetes.io/name":"web","app.kubernetes.io/version":"1.24.%d"},"annotations":{"example.com/number":"%d"}},
"spec":{"secretName":"tls-%d","duration":"2160h","commonName":"web-%d.example.com","dnsNames":["web-%d.example.com","www-%d.example.com","api-%d.example.com"],
"issuerRef":{"name":"letsencrypt","kind":"ClusterIssuer","group":"cert-manager.io"},
"privateKey":{"algorithm":"ECDSA","size":256,"rotationPolicy":"Always"},
"usages":["digital signature","key encipherment"],
"keystores":[{"name":"jks","create":true,"passwordSecretRef":{"name":"keystore","key":"password"}},{"name":"pkcs12","create":true,"passwordSecretRef":{"name":"keystore","key":"password"}}]},
"data":{"n":"%d"}}`, widgetName(i), i%50, i, i, i, i, i, i, i)
}

// definition is that of widgets: defaults, list types, rules, columns and a status.
const definition = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition",
"metadata":{"name":"widgets.bench.example.com"},
"spec":{"group":"bench.example.com","scope":"Namespaced","names":{"plural":"widgets","singular":"widget","kind":"Widget","listKind":"WidgetList","shortNames":["wd"]},
"versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{}},
"additionalPrinterColumns":[{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"},{"name":"Secret","type":"string","jsonPath":".spec.secretName"},{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}],
"schema":{"openAPIV3Schema":{"type":"object","properties":{
"spec":{"type":"object","required":["secretName","issuerRef"],
"x-kubernetes-validations":[{"rule":"has(self.commonName) || size(self.dnsNames) > 0","message":"a name is needed"}],
"properties":{
"secretName":{"type":"string","minLength":1,"maxLength":253},"duration":{"type":"string"},"commonName":{"type":"string","maxLength":253},
"revisionHistoryLimit":{"type":"integer","format":"int32","minimum":1,"default":3},
"dnsNames":{"type":"array","maxItems":100,"items":{"type":"string","maxLength":253},"x-kubernetes-list-type":"set"},
"issuerRef":{"type":"object","required":["name"],"properties":{"name":{"type":"string"},"kind":{"type":"string","default":"Issuer"},"group":{"type":"string"}}},
"privateKey":{"type":"object","properties":{"algorithm":{"type":"string","enum":["RSA","ECDSA","Ed25519"]},"size":{"type":"integer"},"rotationPolicy":{"type":"string","enum":["Never","Always"],"default":"Always"},"encoding":{"type":"string","enum":["PKCS1","PKCS8"],"default":"PKCS1"}}},
"usages":{"type":"array","items":{"type":"string"}},
"keystores":{"type":"array","items":{"type":"object","required":["name"],"properties":{"name":{"type":"string"},"create":{"type":"boolean"},"passwordSecretRef":{"type":"object","properties":{"name":{"type":"string"},"key":{"type":"string"}}}}},"x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"]}}},
"data":{"type":"object","properties":{"n":{"type":"string"}}},
"status":{"type":"object","properties":{"conditions":{"type":"array","items":{"type":"object","required":["type","status"],"properties":{"type":{"type":"string"},"status":{"type":"string"},"reason":{"type":"string"},"message":{"type":"string"},"lastTransitionTime":{"type":"string","format":"date-time"}}},"x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["type"]}}}}}}}]}}`
