// The official client library for Go with our server: tests/support/realtime.py, whose address is in $URL.

package rooms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/centrifugal/centrifuge-go"
)

const patience = 30 * time.Second

// Events of a client and its subscriptions as text, in their order.
type events chan string

func (heard events) say(format string, values ...any) {
	heard <- fmt.Sprintf(format, values...)
}

// Waits for events that begin with these texts, in this order, and passes over all others. Gives the last one.
func (heard events) expect(t *testing.T, wanted ...string) string {
	t.Helper()
	deadline := time.After(patience)
	var passed []string
	for {
		select {
		case event := <-heard:
			passed = append(passed, event)
			if !strings.HasPrefix(event, wanted[0]) {
				continue
			}
			if wanted = wanted[1:]; len(wanted) == 0 {
				return event
			}
		case <-deadline:
			t.Fatalf("waited in vain for %q; heard %q", wanted, passed)
		}
	}
}

// Waits until a token was asked for, and takes nothing else but that others were before.
func (heard events) expectToken(t *testing.T, wanted string) {
	t.Helper()
	for event := ""; event != wanted; {
		if event = heard.expect(t, ""); event != wanted && event != "token 2" {
			t.Fatalf("heard %q, not %q", event, wanted)
		}
	}
}

// A client that is connected, with what it hears.
func open(t *testing.T, format string) (*centrifuge.Client, events) {
	t.Helper()
	heard := make(events, 10_000)
	return openWith(t, format, heard, centrifuge.Config{}), heard
}

func openWith(t *testing.T, format string, heard events, config centrifuge.Config) *centrifuge.Client {
	t.Helper()
	config.MinReconnectDelay = 10 * time.Millisecond
	config.ReadTimeout = patience
	config.HandshakeTimeout = patience
	create := map[string]func(string, centrifuge.Config) *centrifuge.Client{
		"json": centrifuge.NewJsonClient, "protobuf": centrifuge.NewProtobufClient,
	}[format]
	client := create(strings.Replace(os.Getenv("URL"), "http", "ws", 1)+"/connection/websocket", config)
	t.Cleanup(client.Close)
	client.OnConnecting(func(event centrifuge.ConnectingEvent) { heard.say("connecting %d", event.Code) })
	client.OnConnected(func(centrifuge.ConnectedEvent) { heard.say("connected") })
	client.OnDisconnected(func(event centrifuge.DisconnectedEvent) { heard.say("disconnected %d", event.Code) })
	client.OnSubscribed(func(event centrifuge.ServerSubscribedEvent) {
		heard.say("server subscribed %s %v %v", event.Channel, event.WasRecovering, event.Recovered)
	})
	client.OnUnsubscribed(func(event centrifuge.ServerUnsubscribedEvent) {
		heard.say("server unsubscribed %s", event.Channel)
	})
	client.OnPublication(func(event centrifuge.ServerPublicationEvent) {
		heard.say("server publication %s %s", event.Channel, text(event.Data))
	})
	must(t, client.Connect())
	heard.expect(t, "connected")
	return client
}

// Subscribes a client, and lets what happens be heard among its other events.
func subscribe(
	t *testing.T, client *centrifuge.Client, heard events, channel string, config centrifuge.SubscriptionConfig,
) *centrifuge.Subscription {
	t.Helper()
	config.MinResubscribeDelay = 10 * time.Millisecond
	subscription, err := client.NewSubscription(channel, config)
	must(t, err)
	subscription.OnSubscribing(func(event centrifuge.SubscribingEvent) { heard.say("subscribing %d", event.Code) })
	subscription.OnSubscribed(func(event centrifuge.SubscribedEvent) {
		heard.say("subscribed %v %v %s", event.WasRecovering, event.Recovered, channel)
	})
	subscription.OnUnsubscribed(func(event centrifuge.UnsubscribedEvent) { heard.say("unsubscribed %d", event.Code) })
	subscription.OnPublication(func(event centrifuge.PublicationEvent) {
		heard.say("publication %s %s", text(event.Data), channel)
	})
	must(t, subscription.Subscribe())
	heard.expect(t, "subscribed")
	return subscription
}

func text(data []byte) string {
	var message struct{ Text string }
	_ = json.Unmarshal(data, &message)
	return message.Text
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Has the server do something to the client, which gets no answer if it is disconnected.
func order(client *centrifuge.Client, method string, order map[string]any) {
	data, _ := json.Marshal(order)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, _ = client.RPC(ctx, method, data)
}

func publish(t *testing.T, subscription *centrifuge.Subscription, text string) {
	t.Helper()
	_, err := subscription.Publish(context.Background(), []byte(`{"text":"`+text+`"}`))
	must(t, err)
}

func token(query url.Values) (string, error) {
	response, err := http.Get(os.Getenv("URL") + "/token?" + query.Encode())
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

var scenarios = map[string]func(t *testing.T, format string, channel string){
	"a client that comes back has missed nothing": func(t *testing.T, format, channel string) {
		client, heard := open(t, format)
		subscribe(t, client, heard, "room:"+channel, centrifuge.SubscriptionConfig{})
		order(client, "kick", map[string]any{"code": 4000, "channel": "room:" + channel, "publish": 3})
		heard.expect(t, "connecting 4000", "connected", "subscribed true true")
		heard.expect(t, "publication missed 0", "publication missed 1", "publication missed 2")
	},

	"many channels recover in one frame": func(t *testing.T, format, channel string) {
		client, heard := open(t, format)
		var channels []string
		for number := range 40 {
			channels = append(channels, fmt.Sprintf("room:%s-%d", channel, number))
			subscribe(t, client, heard, channels[number], centrifuge.SubscriptionConfig{})
		}
		order(client, "kick", map[string]any{"code": 4000, "channels": channels, "publish": 10})
		heard.expect(t, "connecting 4000", "connected")
		left := map[string]int{}
		for range 40 * 10 {
			left[strings.Fields(heard.expect(t, "publication missed"))[3]]++
		}
		for _, channel := range channels {
			if left[channel] != 10 {
				t.Errorf("%d publications of %s, not 10", left[channel], channel)
			}
		}
	},

	"a client that missed too much is told": func(t *testing.T, format, channel string) {
		client, heard := open(t, format)
		subscription := subscribe(t, client, heard, "short:"+channel, centrifuge.SubscriptionConfig{})
		order(client, "kick", map[string]any{"code": 4000, "channel": "short:" + channel, "publish": 3})
		heard.expect(t, "connecting 4000", "subscribed true false")
		publish(t, subscription, "after")
		heard.expect(t, "publication after")
	},

	"an empty cache isn't recovered": func(t *testing.T, format, channel string) {
		client, heard := open(t, format)
		subscribe(t, client, heard, "cache:"+channel, centrifuge.SubscriptionConfig{})
		order(client, "kick", map[string]any{"code": 4000})
		heard.expect(t, "connecting 4000", "subscribed true false")
		order(client, "kick", map[string]any{"code": 4000, "channel": "cache:" + channel, "publish": 3})
		heard.expect(t, "connecting 4000", "subscribed true true", "publication missed 2")
	},

	"a gap makes a client recover": func(t *testing.T, format, channel string) {
		client, heard := open(t, format)
		subscription := subscribe(t, client, heard, "room:"+channel, centrifuge.SubscriptionConfig{})
		order(client, "unsubscribe", map[string]any{"code": 2500, "channel": "room:" + channel})
		heard.expect(t, "subscribing 2500", "subscribed true true")
		publish(t, subscription, "after")
		heard.expect(t, "publication after")
	},

	"a gap where the server had subscribed a client makes it connect again": func(t *testing.T, format, channel string) {
		client, heard := open(t, format)
		order(client, "subscribe", map[string]any{"channel": "room:" + channel})
		heard.expect(t, "server subscribed room:"+channel)
		order(client, "unsubscribe", map[string]any{"code": 2500, "channel": "room:" + channel})
		heard.expect(t, "connecting 3010", "server subscribed room:"+channel+" true true")
	},

	"a client gets back what the server had subscribed it to": func(t *testing.T, format, channel string) {
		client, heard := open(t, format)
		order(client, "subscribe", map[string]any{"channel": "room:" + channel})
		heard.expect(t, "server subscribed room:"+channel+" false false")
		order(client, "kick", map[string]any{"code": 4000, "channel": "room:" + channel, "publish": 2})
		heard.expect(t, "connecting 4000", "server subscribed room:"+channel+" true true")
		heard.expect(t, "server publication room:"+channel+" missed 0", "server publication room:"+channel+" missed 1")
		order(client, "unsubscribe", map[string]any{"code": 2000, "channel": "room:" + channel})
		heard.expect(t, "server unsubscribed room:"+channel)
	},

	"a client stays away that the server unsubscribed": func(t *testing.T, format, channel string) {
		client, heard := open(t, format)
		subscription := subscribe(t, client, heard, "room:"+channel, centrifuge.SubscriptionConfig{})
		order(client, "unsubscribe", map[string]any{"code": 2000, "channel": "room:" + channel})
		heard.expect(t, "unsubscribed 2000")
		if state := subscription.State(); state != centrifuge.SubStateUnsubscribed {
			t.Errorf("the subscription is %s", state)
		}
	},

	"codes tell whether a client comes back": func(t *testing.T, format, channel string) {
		client, heard := open(t, format)
		for _, code := range []int{3001, 3008, 4000, 4499} {
			order(client, "kick", map[string]any{"code": code})
			heard.expect(t, fmt.Sprintf("connecting %d", code), "connected")
		}
		order(client, "kick", map[string]any{"code": 4500})
		heard.expect(t, "disconnected 4500")
	},

	"a token is refreshed": func(t *testing.T, format, channel string) {
		heard := make(events, 10_000)
		tokens := tokens{heard: heard, query: url.Values{"user": {"ada"}}, later: []string{"600"}}
		client := openWith(t, format, heard, centrifuge.Config{
			GetToken: func(centrifuge.ConnectionTokenEvent) (string, error) { return tokens.next() },
		})
		tokens.goOn()
		heard.expectToken(t, "token 600")
		_, err := client.RPC(context.Background(), "whoami", nil)
		must(t, err)
	},

	"a client whose new token is too old comes back with another one": func(t *testing.T, format, channel string) {
		heard := make(events, 10_000)
		tokens := tokens{heard: heard, query: url.Values{"user": {"ada"}}, later: []string{"-60", "600"}}
		openWith(t, format, heard, centrifuge.Config{
			GetToken: func(centrifuge.ConnectionTokenEvent) (string, error) { return tokens.next() },
		})
		tokens.goOn()
		heard.expectToken(t, "token -60")
		heard.expect(t, "connecting 3005", "connected")
	},

	"the token of a subscription is refreshed": func(t *testing.T, format, channel string) {
		client, heard := open(t, format)
		query := url.Values{"user": {"guest"}, "channel": {"private:" + channel}}
		tokens := tokens{heard: heard, query: query, later: []string{"600"}}
		subscribe(t, client, heard, "private:"+channel, centrifuge.SubscriptionConfig{
			GetToken: func(centrifuge.SubscriptionTokenEvent) (string, error) { return tokens.next() },
		})
		tokens.goOn()
		heard.expectToken(t, "token 600")
		_, err := client.RPC(context.Background(), "whoami", nil)
		must(t, err)
	},

	"history from its newest end": func(t *testing.T, format, channel string) {
		client, heard := open(t, format)
		subscription := subscribe(t, client, heard, "room:"+channel, centrifuge.SubscriptionConfig{})
		for _, text := range []string{"one", "two", "three"} {
			publish(t, subscription, text)
		}
		read := func(offset uint64) (centrifuge.HistoryResult, error) {
			since := centrifuge.WithHistorySince(&centrifuge.StreamPosition{Offset: offset})
			return subscription.History(
				context.Background(), centrifuge.WithHistoryLimit(2), centrifuge.WithHistoryReverse(true), since,
			)
		}
		newest, err := read(4)
		must(t, err)
		if got := newest.Publications; len(got) != 2 || text(got[0].Data) != "three" || text(got[1].Data) != "two" {
			t.Errorf("before the next one stand %v", got)
		}
		var refused *centrifuge.Error
		if _, err := read(0); !errors.As(err, &refused) || refused.Code != 107 {
			t.Errorf("before the first one: %v", err)
		}
	},
}

// Tokens that are good for two seconds, until `goOn`; from then on for so many seconds, one after the other.
type tokens struct {
	heard events
	query url.Values
	later []string
	mutex sync.Mutex
	going bool
}

func (tokens *tokens) goOn() {
	tokens.mutex.Lock()
	defer tokens.mutex.Unlock()
	tokens.going = true
}

func (tokens *tokens) next() (string, error) {
	tokens.mutex.Lock()
	defer tokens.mutex.Unlock()
	ttl := "2"
	if tokens.going {
		if len(tokens.later) == 0 {
			return "", errors.New("too many tokens were asked for")
		}
		ttl, tokens.later = tokens.later[0], tokens.later[1:]
	}
	tokens.query.Set("ttl", ttl)
	tokens.heard.say("token %s", ttl)
	return token(tokens.query)
}

func TestRooms(t *testing.T) {
	for _, format := range []string{"json", "protobuf"} {
		for name, scenario := range scenarios {
			channel := fmt.Sprintf("%s-%s-%d", format, strings.ReplaceAll(name, " ", "-"), time.Now().UnixNano())
			t.Run(format+"/"+name, func(t *testing.T) {
				t.Parallel()
				scenario(t, format, channel)
			})
		}
	}
}
