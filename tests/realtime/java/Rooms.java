// The official client library for Java with our server, tests/support/realtime.py. Usage: Rooms URL
// Prints a line for each scenario: "ok NAME", or "FAULT NAME: what is wrong".

import io.github.centrifugal.centrifuge.*;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Queue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

public class Rooms {
  static final int PATIENCE = 30; // seconds
  static String url;

  interface Scenario {
    void play(Guest guest, String channel) throws Exception;
  }

  static final Map<String, Scenario> SCENARIOS = new LinkedHashMap<>();

  static {
    SCENARIOS.put("a client that comes back has missed nothing", (guest, channel) -> {
      guest.connect();
      guest.subscribe("room:" + channel, null);
      guest.order("kick", 4000, "room:" + channel, 3);
      guest.expect("connecting 4000", "connected", "subscribed true true");
      guest.expect("publication missed 0", "publication missed 1", "publication missed 2");
    });
    SCENARIOS.put("a client that missed too much is told", (guest, channel) -> {
      guest.connect();
      Subscription subscription = guest.subscribe("short:" + channel, null);
      guest.order("kick", 4000, "short:" + channel, 3);
      guest.expect("connecting 4000", "subscribed true false");
      publish(subscription, "after");
      guest.expect("publication after");
    });
    SCENARIOS.put("an empty cache isn't recovered", (guest, channel) -> {
      guest.connect();
      guest.subscribe("cache:" + channel, null);
      guest.order("kick", 4000, "", 0);
      guest.expect("connecting 4000", "subscribed true false");
      guest.order("kick", 4000, "cache:" + channel, 3);
      guest.expect("connecting 4000", "subscribed true true", "publication missed 2");
    });
    SCENARIOS.put("a gap makes a client recover", (guest, channel) -> {
      guest.connect();
      Subscription subscription = guest.subscribe("room:" + channel, null);
      guest.order("unsubscribe", 2500, "room:" + channel, 0);
      guest.expect("subscribing 2500", "subscribed true true");
      publish(subscription, "after");
      guest.expect("publication after");
    });
    SCENARIOS.put("a gap where the server had subscribed a client makes it connect again", (guest, channel) -> {
      guest.connect();
      guest.order("subscribe", 0, "room:" + channel, 0);
      guest.expect("server subscribed room:" + channel);
      guest.order("unsubscribe", 2500, "room:" + channel, 0);
      guest.expect("connecting 3010", "server subscribed room:" + channel + " true true");
    });
    SCENARIOS.put("a client gets back what the server had subscribed it to", (guest, channel) -> {
      guest.connect();
      guest.order("subscribe", 0, "room:" + channel, 0);
      guest.expect("server subscribed room:" + channel + " false false");
      guest.order("kick", 4000, "room:" + channel, 2);
      guest.expect("connecting 4000", "server subscribed room:" + channel + " true true");
      guest.expect("server publication missed 0", "server publication missed 1");
      guest.order("unsubscribe", 2000, "room:" + channel, 0);
      guest.expect("server unsubscribed room:" + channel);
    });
    SCENARIOS.put("a client stays away that the server unsubscribed", (guest, channel) -> {
      guest.connect();
      guest.subscribe("room:" + channel, null);
      guest.order("unsubscribe", 2000, "room:" + channel, 0);
      guest.expect("unsubscribed 2000");
    });
    SCENARIOS.put("codes tell whether a client comes back", (guest, channel) -> {
      guest.connect();
      for (int code : new int[] {3001, 3008, 4000, 4499}) {
        guest.order("kick", code, "", 0);
        guest.expect("connecting " + code, "connected");
      }
      guest.order("kick", 4500, "", 0);
      guest.expect("disconnected 4500");
    });
    SCENARIOS.put("a token is refreshed", (guest, channel) -> {
      Tokens tokens = guest.tokens("user=ada", 600);
      guest.options.setTokenGetter(tokens.ofConnection());
      guest.connect();
      tokens.going = true;
      guest.expectToken("token 600");
      guest.call("whoami", "{}");
    });
    SCENARIOS.put("a client whose new token is too old comes back with another one", (guest, channel) -> {
      Tokens tokens = guest.tokens("user=ada", -60, 600);
      guest.options.setTokenGetter(tokens.ofConnection());
      guest.connect();
      tokens.going = true;
      guest.expectToken("token -60");
      guest.expect("connecting 3005", "connected");
    });
    SCENARIOS.put("the token of a subscription is refreshed", (guest, channel) -> {
      guest.connect();
      Tokens tokens = guest.tokens("user=guest&channel=private:" + channel, 600);
      guest.subscribe("private:" + channel, tokens.ofSubscription());
      tokens.going = true;
      guest.expectToken("token 600");
      guest.call("whoami", "{}");
    });
    SCENARIOS.put("history from its newest end", (guest, channel) -> {
      guest.connect();
      Subscription subscription = guest.subscribe("room:" + channel, null);
      for (String text : new String[] {"one", "two", "three"}) publish(subscription, text);
      List<String> newest = new ArrayList<>();
      for (Publication each : history(subscription, 4).getPublications()) newest.add(text(each.getData()));
      equal(newest, List.of("three", "two"));
      try {
        history(subscription, 0);
        throw new AssertionError("something stands before the first publication");
      } catch (java.util.concurrent.ExecutionException refused) {
        equal(((ReplyError) refused.getCause()).getCode(), 107);
      }
    });
  }

  public static void main(String[] arguments) throws Exception {
    url = arguments[0];
    var threads = Executors.newCachedThreadPool();
    var plays = new LinkedHashMap<String, CompletableFuture<Void>>();
    SCENARIOS.forEach((name, scenario) -> plays.put(name, CompletableFuture.runAsync(() -> play(name, scenario), threads)));
    plays.forEach((name, play) -> System.out.println(
        play.handle((nothing, error) -> error == null ? "ok " + name : "FAULT " + name + ": " + error.getCause()).join()));
    System.exit(0); // threads of the library go on
  }

  static void play(String name, Scenario scenario) {
    Guest guest = new Guest();
    try {
      scenario.play(guest, name.replace(' ', '-'));
    } catch (Exception error) {
      throw new RuntimeException(error);
    } finally {
      if (guest.client != null) guest.client.disconnect();
    }
  }

  static void equal(Object got, Object wanted) {
    if (!Objects.equals(got, wanted)) throw new AssertionError("got " + got + ", not " + wanted);
  }

  static String text(byte[] data) {
    Matcher found = Pattern.compile("\"text\": ?\"([^\"]*)\"").matcher(new String(data));
    return found.find() ? found.group(1) : "";
  }

  static <T> T answer(CompletableFuture<T> future) throws Exception {
    return future.get(PATIENCE, TimeUnit.SECONDS);
  }

  static <T> ResultCallback<T> into(CompletableFuture<T> future) {
    return (error, result) -> {
      if (error != null) future.completeExceptionally(error);
      else future.complete(result);
    };
  }

  static void publish(Subscription subscription, String text) throws Exception {
    var done = new CompletableFuture<PublishResult>();
    subscription.publish(("{\"text\":\"" + text + "\"}").getBytes(), into(done));
    answer(done);
  }

  static HistoryResult history(Subscription subscription, long offset) throws Exception {
    var since = new StreamPosition(offset, "");
    var options = new HistoryOptions.Builder().withLimit(2).withReverse(true).withSince(since).build();
    var done = new CompletableFuture<HistoryResult>();
    subscription.history(options, into(done));
    return answer(done);
  }

  static String token(String query) throws Exception {
    var request = HttpRequest.newBuilder(URI.create(url + "/token?" + query)).build();
    return HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body();
  }

  /** A client, and what it hears, as text. */
  static class Guest extends EventListener {
    final BlockingQueue<String> heard = new LinkedBlockingQueue<>();
    final Options options = new Options();
    Client client;

    Guest() {
      options.setMinReconnectDelay(10);
      options.setTimeout(PATIENCE * 1000);
    }

    void connect() throws Exception {
      client = new Client(url.replaceFirst("http", "ws") + "/connection/websocket", options, this);
      client.connect();
      expect("connected");
    }

    /** Waits for events that begin with these texts, in this order, and passes over all others. */
    void expect(String... wanted) throws Exception {
      List<String> passed = new ArrayList<>();
      for (String each : wanted) {
        do {
          String event = heard.poll(PATIENCE, TimeUnit.SECONDS);
          if (event == null) throw new AssertionError("waited in vain for " + each + "; heard " + passed);
          passed.add(event);
        } while (!passed.get(passed.size() - 1).startsWith(each));
      }
    }

    /** Waits until a token was asked for, and takes nothing else but that others were before. */
    void expectToken(String wanted) throws Exception {
      for (String event = ""; !event.equals(wanted); ) {
        event = heard.poll(PATIENCE, TimeUnit.SECONDS);
        if (!"token 2".equals(event)) equal(event, wanted);
      }
    }

    Subscription subscribe(String channel, SubscriptionTokenGetter tokens) throws Exception {
      SubscriptionOptions options = new SubscriptionOptions();
      options.setMinResubscribeDelay(10);
      options.setTokenGetter(tokens);
      Subscription subscription = client.newSubscription(channel, options, new SubscriptionEventListener() {
        @Override public void onSubscribing(Subscription subscription, SubscribingEvent event) {
          heard.add("subscribing " + event.getCode());
        }

        @Override public void onSubscribed(Subscription subscription, SubscribedEvent event) {
          heard.add("subscribed " + event.wasRecovering() + " " + event.getRecovered());
        }

        @Override public void onUnsubscribed(Subscription subscription, UnsubscribedEvent event) {
          heard.add("unsubscribed " + event.getCode());
        }

        @Override public void onPublication(Subscription subscription, PublicationEvent event) {
          heard.add("publication " + text(event.getData()));
        }
      });
      subscription.subscribe();
      expect("subscribed");
      return subscription;
    }

    void call(String method, String data) throws Exception {
      var done = new CompletableFuture<RPCResult>();
      client.rpc(method, data.getBytes(), into(done));
      answer(done);
    }

    /** Has the server do something to this client, which gets no answer if it is disconnected. */
    void order(String what, int code, String channel, int publish) {
      var order = "{\"code\":%d,\"channel\":\"%s\",\"publish\":%d}".formatted(code, channel, publish);
      client.rpc(what, order.getBytes(), (error, result) -> {});
    }

    Tokens tokens(String query, int... ttls) {
      Tokens tokens = new Tokens();
      tokens.guest = this;
      tokens.query = query;
      for (int ttl : ttls) tokens.later.add(ttl);
      return tokens;
    }

    @Override public void onConnecting(Client client, ConnectingEvent event) {
      heard.add("connecting " + event.getCode());
    }

    @Override public void onConnected(Client client, ConnectedEvent event) {
      heard.add("connected");
    }

    @Override public void onDisconnected(Client client, DisconnectedEvent event) {
      heard.add("disconnected " + event.getCode());
    }

    @Override public void onSubscribed(Client client, ServerSubscribedEvent event) {
      heard.add("server subscribed " + event.getChannel() + " " + event.wasRecovering() + " " + event.getRecovered());
    }

    @Override public void onUnsubscribed(Client client, ServerUnsubscribedEvent event) {
      heard.add("server unsubscribed " + event.getChannel());
    }

    @Override public void onPublication(Client client, ServerPublicationEvent event) {
      heard.add("server publication " + text(event.getData()));
    }
  }

  /** Tokens that are good for two seconds, until `going`; from then on for so many seconds, one after the other. */
  static class Tokens {
    final Queue<Integer> later = new ArrayDeque<>();
    Guest guest;
    String query;
    volatile boolean going;

    void give(TokenCallback callback) {
      try {
        int ttl = going ? later.remove() : 2;
        guest.heard.add("token " + ttl);
        callback.Done(null, token(query + "&ttl=" + ttl));
      } catch (Exception error) {
        callback.Done(error, "");
      }
    }

    ConnectionTokenGetter ofConnection() {
      return new ConnectionTokenGetter() {
        @Override public void getConnectionToken(ConnectionTokenEvent event, TokenCallback callback) {
          give(callback);
        }
      };
    }

    SubscriptionTokenGetter ofSubscription() {
      return new SubscriptionTokenGetter() {
        @Override public void getSubscriptionToken(SubscriptionTokenEvent event, TokenCallback callback) {
          give(callback);
        }
      };
    }
  }
}
