//! A fast lane: finished messages of a response that go out past its body.
//!
//! A stream may have messages of two kinds. Answers and receipts are made for it alone, by its body
//! with all of its layers. What is sent to many streams alike, such as the posts of a feed, is
//! there already, and there is much more of it. A handler that has such messages puts a [`Lane`]
//! into the extensions of its response. While the task that sends the response waits for its body,
//! it lends the HTTP/2 stream to the lane, and the thread that has news for the lane sends its
//! messages, stream after stream: no task is woken but that of the connection, once.
//!
//! Guarantee: while the body is polled nothing is taken from the lane, and while the lane has the
//! stream the body is not polled. So they may share state, and messages of one stand between two
//! whole messages of the other.

use std::{
    fmt::Debug,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock, Weak},
};

use bytes::Bytes;
use h2::SendStream;
use parking_lot::Mutex;
use quartet_runtime::{observer::Observer, signal::Signal};
use quartet_wire::framing::Framing;
use tokio::time::Instant;

use crate::meter::Meter;

/// Where the messages of a lane come from.
///
/// The body beside it must read its requests while it waits, and end when they are cut off: with a
/// lane, nothing else notices that the peer has reset the stream.
pub trait MessageSource: Debug + Send + Sync + 'static {
    /// The next message that is ready, with its prefix, as gRPC puts it into DATA frames. If
    /// there is none, the observer is notified when there may be one. It must not block.
    fn next(&self, now: Instant, observer: &Weak<dyn Observer>) -> Option<Bytes>;

    /// The lane is in use from now on: whenever the body waits, its messages are taken. A response
    /// that is served in another way, as in a unit test, never calls this.
    fn activate(&self) {}
}

/// The lane of one response, which ends with the response's body: an extension of the response.
#[derive(Debug, Clone)]
pub struct Lane(Arc<LaneSender<dyn MessageSource>>);

/// Sends the messages of a source on the stream that is lent to the lane. Both are in one object,
/// because a delivery touches both.
///
/// The observer of its own news: [`notify`](Observer::notify) sends what is ready.
#[derive(Debug)]
pub struct LaneSender<S: ?Sized> {
    this: Weak<dyn Observer>,
    /// Counts the messages, as the layers around the body count its own.
    meter: OnceLock<Arc<dyn Meter>>,
    lent: Mutex<Option<LentStream>>,
    source: S,
}

/// A stream that is lent.
#[derive(Debug)]
struct LentStream {
    stream: SendStream<Bytes>,
    /// Whether the peer has granted a window for more. If not, the lender waits for that.
    has_window: bool,
    lender: Arc<Signal>,
}

impl Lane {
    /// The lane of this sender.
    pub fn new(sender: Arc<LaneSender<impl MessageSource>>) -> Self {
        Self(sender)
    }

    /// Where its messages come from.
    pub fn source(&self) -> &dyn MessageSource {
        &self.0.source
    }

    /// Has its messages counted. Only the first meter counts.
    pub fn count_for(&self, meter: Arc<dyn Meter>) {
        let _ = self.0.meter.set(meter);
    }

    /// Tells the source that its messages will be sent.
    pub(crate) fn activate(&self) {
        self.0.source.activate();
    }

    /// Lends a stream with a window, and sends what is ready. The lender is woken when the window
    /// is used up.
    pub(crate) fn lend(&self, stream: SendStream<Bytes>, lender: &Arc<Signal>) {
        *self.0.lent.lock() = Some(LentStream { stream, has_window: true, lender: lender.clone() });
        self.0.send(Instant::now());
    }

    /// Takes the stream back, if it was lent.
    pub(crate) fn take_back(&self) -> Option<SendStream<Bytes>> {
        self.0.lent.lock().take().map(|lent| lent.stream)
    }
}

impl<S: MessageSource> LaneSender<S> {
    /// For the messages of this source. No stream is lent yet.
    pub fn new(source: S) -> Arc<Self> {
        Arc::new_cyclic(|this: &Weak<Self>| {
            let this: Weak<dyn Observer> = this.clone();
            Self { this, meter: OnceLock::new(), lent: Mutex::default(), source }
        })
    }
}

impl<S: MessageSource> Deref for LaneSender<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.source
    }
}

impl<S: MessageSource + ?Sized> LaneSender<S> {
    /// Sends what is ready, if there is a stream with a window. Returns whether there was
    /// anything.
    fn send(&self, now: Instant) -> bool {
        let mut lent = self.lent.lock();
        let Some(lent) = lent.as_mut() else { return false };
        let mut sent = false;
        while lent.has_window
            && let Some(message) = self.source.next(now, &self.this)
        {
            if let Some(meter) = self.meter.get() {
                Framing::default().pass(&message, |bytes| meter.sent(bytes));
            }
            lent.send(message);
            sent = true;
        }
        if !lent.has_window {
            lent.lender.raise();
        }
        sent
    }
}

impl<S: MessageSource + ?Sized> Observer for LaneSender<S> {
    fn notify(&self, now: Instant) -> bool {
        catch_unwind(AssertUnwindSafe(|| self.send(now))).unwrap_or_else(|_| {
            // A panic ends this stream and no other: the lender meets it again in its own task.
            self.lent.lock().iter().for_each(|lent| lent.lender.raise());
            false
        })
    }
}

impl LentStream {
    /// Sends a message. What exceeds the peer's window waits in h2.
    fn send(&mut self, message: Bytes) {
        let sent = self.stream.send_data(message, false);
        self.stream.reserve_capacity(1);
        // A stream that is over has no window either: its lender sees why.
        self.has_window = sent.is_ok() && self.stream.capacity() > 0;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        future::poll_fn,
        task::{Context, Waker},
        time::Duration,
    };

    use h2::RecvStream;
    use http::{Request, Response};
    use tokio::{
        io::duplex,
        task::{JoinSet, yield_now},
        time::timeout,
    };

    use super::*;

    #[derive(Debug, Default)]
    struct Words(Mutex<VecDeque<&'static str>>);

    impl Words {
        fn add(&self, words: &[&'static str]) {
            self.0.lock().extend(words);
        }

        fn left(&self) -> usize {
            self.0.lock().len()
        }
    }

    impl MessageSource for Words {
        fn next(&self, _: Instant, _: &Weak<dyn Observer>) -> Option<Bytes> {
            self.0.lock().pop_front().map(Bytes::from)
        }
    }

    #[derive(Debug)]
    struct Broken;

    impl MessageSource for Broken {
        fn next(&self, _: Instant, _: &Weak<dyn Observer>) -> Option<Bytes> {
            panic!("as expected");
        }
    }

    /// A response whose client grants a window of so many bytes. Both connections run on `tasks`.
    async fn response(window: u32, tasks: &mut JoinSet<()>) -> (SendStream<Bytes>, RecvStream) {
        let (near, far) = duplex(64 * 1024);
        let mut client = h2::client::Builder::new();
        client.initial_window_size(window);
        let (client, server) =
            tokio::join!(client.handshake::<_, Bytes>(far), h2::server::handshake(near));
        let ((mut requests, client), mut server) = (client.unwrap(), server.unwrap());
        tasks.spawn(async move { client.await.unwrap() });
        let (response, _) = requests.send_request(Request::new(()), true).unwrap();
        let (_, mut respond) = server.accept().await.unwrap().unwrap();
        let stream = respond.send_response(Response::new(()), false).unwrap();
        tasks.spawn(async move { while server.accept().await.is_some() {} });
        (stream, response.await.unwrap().into_body())
    }

    async fn receive(body: &mut RecvStream, len: usize) -> String {
        let mut received = Vec::new();
        while received.len() < len {
            let data = body.data().await.unwrap().unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            received.extend_from_slice(&data);
        }
        String::from_utf8(received).unwrap()
    }

    fn was_raised(signal: &Signal) -> bool {
        signal.take(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn messages_go_out_on_the_thread_with_the_news_while_the_stream_is_lent() {
        let (sender, lender, mut tasks) =
            (LaneSender::new(Words::default()), Arc::<Signal>::default(), JoinSet::new());
        let lane = Lane::new(sender.clone());
        let (stream, mut body) = response(1000, &mut tasks).await;
        sender.add(&["before "]);
        assert!(!sender.notify(Instant::now()), "there is no stream");
        lane.lend(stream, &lender);
        sender.add(&["while ", "it is "]);
        assert!(sender.notify(Instant::now()));
        assert!(!sender.notify(Instant::now()), "there is nothing more");
        let stream = lane.take_back().unwrap();
        sender.add(&["lent"]);
        assert!(!sender.notify(Instant::now()) && lane.take_back().is_none());
        assert!(!was_raised(&lender), "there was a window all the time");
        lane.lend(stream, &lender);
        assert_eq!(receive(&mut body, 23).await, "before while it is lent");
    }

    #[tokio::test]
    async fn a_peer_without_a_window_is_one_message_behind_and_its_lender_is_woken() {
        let (sender, lender, mut tasks) =
            (LaneSender::new(Words::default()), Arc::<Signal>::default(), JoinSet::new());
        let lane = Lane::new(sender.clone());
        let (stream, mut body) = response(10, &mut tasks).await;
        sender.add(&["12345678"; 4]);
        lane.lend(stream, &lender);
        assert_eq!(
            (was_raised(&lender), sender.left()),
            (true, 2),
            "10 of 16 bytes fit into the window"
        );
        assert!(!sender.notify(Instant::now()), "nothing goes out before the lender has looked");
        assert_eq!(receive(&mut body, 16).await, "1234567812345678");
        let mut stream = lane.take_back().unwrap();
        poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
        lane.lend(stream, &lender);
        assert_eq!(receive(&mut body, 8).await, "12345678");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_message_is_lost_when_news_race_with_a_stream_that_goes_and_comes_back() {
        // Not more: to h2's client a hundred small frames that are not read are an attack.
        const WORDS: usize = 80;
        for _ in 0..25 {
            let (sender, lender, mut tasks) =
                (LaneSender::new(Words::default()), Arc::<Signal>::default(), JoinSet::new());
            let lane = Lane::new(sender.clone());
            let (mut stream, mut body) = response(1000, &mut tasks).await;
            tasks.spawn(async move {
                for _ in 0..WORDS {
                    sender.add(&["word "]);
                    sender.notify(Instant::now());
                    yield_now().await;
                }
            });
            for _ in 0..WORDS {
                lane.lend(stream, &lender);
                yield_now().await;
                stream = lane.take_back().unwrap();
            }
            lane.lend(stream, &lender);
            let received = timeout(Duration::from_secs(20), receive(&mut body, 5 * WORDS)).await;
            assert_eq!(received.expect("a word was lost"), "word ".repeat(WORDS));
        }
    }

    #[tokio::test]
    async fn a_panic_is_left_to_the_task_of_the_stream() {
        let (sender, lender, mut tasks) =
            (LaneSender::new(Broken), Arc::<Signal>::default(), JoinSet::new());
        let (stream, _body) = response(1000, &mut tasks).await;
        *sender.lent.lock() = Some(LentStream { stream, has_window: true, lender: lender.clone() });
        assert!(!sender.notify(Instant::now()) && was_raised(&lender));
        let lane = Lane::new(sender);
        let stream = lane.take_back().unwrap();
        let lend = AssertUnwindSafe(|| lane.lend(stream, &lender));
        assert!(catch_unwind(lend).is_err());
    }
}
