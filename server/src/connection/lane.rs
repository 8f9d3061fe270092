//! A fast lane: messages of a response that are there already, past everything that makes the others.
//!
//! A feed has two things to say. Answers, receipts and bookmarks are made for it alone, by a stream with all of its
//! layers. Posts are the same bytes for everybody who follows the same, and there are many more of them. A handler that
//! has such messages puts a lane into the extensions of its response. While the task that sends the response waits for its
//! body, it lends the stream of HTTP/2 to the lane, and whoever has news for the lane sends its messages, stream after
//! stream: no task is woken for them but that of the connection, once.
//!
//! Guarantee: messages of the body go first; while the body is polled, nothing is taken from the lane, and the other
//! way round. So they may share state, and each sees the other's only between two messages.

use std::{
    fmt::Debug,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock, Weak},
};

use bytes::Bytes;
use h2::SendStream;
use parking_lot::Mutex;
use quartet_runtime::observer::Observer;
use quartet_runtime::signal::Signal;
use tokio::time::Instant;

use crate::chain::call::Call;

/// Where the messages of a lane come from.
///
/// The body beside it reads its requests while it waits, and ends when they are cut off: nobody else looks then whether the
/// peer has reset the stream.
pub trait Messages: Debug + Send + Sync + 'static {
    /// The next one that is at hand, with its prefix, as gRPC puts it into DATA frames. If there is none, the observer is
    /// notified when there may be one. It must not block.
    fn next(&self, now: Instant, observer: &Weak<dyn Observer>) -> Option<Bytes>;

    /// Somebody will ask, whenever the body waits.
    fn attend(&self) {}
}

/// A lane of one response, which ends with the response's body.
#[derive(Debug, Clone)]
pub struct Lane(Arc<Slot<dyn Messages>>);

/// Messages, and the stream that they go out on: side by side, because a delivery touches both.
#[derive(Debug)]
pub struct Slot<M: ?Sized> {
    this: Weak<dyn Observer>,
    /// Counts the messages, as the layers above the body count its own.
    call: OnceLock<Arc<Call>>,
    lent: Mutex<Option<Lent>>,
    messages: M,
}

/// A stream that is lent.
#[derive(Debug)]
struct Lent {
    stream: SendStream<Bytes>,
    /// Whether the peer has granted room for more. If not, the lender waits for that.
    room: bool,
    lender: Arc<Signal>,
}

impl Lane {
    /// A lane for these messages.
    pub fn new(slot: Arc<Slot<impl Messages>>) -> Self {
        Self(slot)
    }

    /// What goes there.
    pub fn messages(&self) -> &dyn Messages {
        &self.0.messages
    }

    /// Has messages counted by their call.
    pub(crate) fn count_for(&self, call: Arc<Call>) {
        // There is one.
        let _ = self.0.call.set(call);
    }

    /// Says that what is here will be sent. Without that, a handler sends all of it in its body.
    pub(super) fn attend(&self) {
        self.0.messages.attend();
    }

    /// Lends a stream on which there is room, and sends what is at hand. The lender is woken when there is no more room.
    pub(super) fn lend(&self, stream: SendStream<Bytes>, lender: &Arc<Signal>) {
        *self.0.lent.lock() = Some(Lent { stream, room: true, lender: lender.clone() });
        self.0.send(Instant::now());
    }

    /// Takes the stream back, if it was lent.
    pub(super) fn take_back(&self) -> Option<SendStream<Bytes>> {
        self.0.lent.lock().take().map(|lent| lent.stream)
    }
}

impl<M: Messages> Slot<M> {
    /// For these messages. No stream is lent yet.
    pub fn new(messages: M) -> Arc<Self> {
        Arc::new_cyclic(|this: &Weak<Self>| {
            let this: Weak<dyn Observer> = this.clone();
            Self { this, call: OnceLock::new(), lent: Mutex::default(), messages }
        })
    }
}

impl<M: Messages> Deref for Slot<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.messages
    }
}

impl<M: Messages + ?Sized> Slot<M> {
    /// Sends what is at hand, if there is a stream with room. Returns whether there was anything.
    fn send(&self, now: Instant) -> bool {
        let mut lent = self.lent.lock();
        let Some(lent) = lent.as_mut() else { return false };
        let mut sent = false;
        while lent.room
            && let Some(message) = self.messages.next(now, &self.this)
        {
            if let Some(call) = self.call.get() {
                call.note_sent_whole(&message);
            }
            lent.send(message);
            sent = true;
        }
        if !lent.room {
            lent.lender.raise();
        }
        sent
    }
}

impl<M: Messages + ?Sized> Observer for Slot<M> {
    fn notify(&self, now: Instant) -> bool {
        catch_unwind(AssertUnwindSafe(|| self.send(now))).unwrap_or_else(|_| {
            // It shall end this stream and no other: the lender meets it again, in its own task.
            self.lent.lock().iter().for_each(|lent| lent.lender.raise());
            false
        })
    }
}

impl Lent {
    /// Sends a message, of which as much waits in HTTP/2 as the peer has no room for.
    fn send(&mut self, message: Bytes) {
        let sent = self.stream.send_data(message, false);
        self.stream.reserve_capacity(1);
        // A stream that is over has no room either: its lender sees why.
        self.room = sent.is_ok() && self.stream.capacity() > 0;
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

    impl Messages for Words {
        fn next(&self, _: Instant, _: &Weak<dyn Observer>) -> Option<Bytes> {
            self.0.lock().pop_front().map(Bytes::from)
        }
    }

    #[derive(Debug)]
    struct Broken;

    impl Messages for Broken {
        fn next(&self, _: Instant, _: &Weak<dyn Observer>) -> Option<Bytes> {
            panic!("as expected");
        }
    }

    /// A response of which the client takes so many bytes before it has read them. Both connections run on `tasks`.
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
    async fn messages_go_out_where_their_news_are_told_while_the_stream_is_lent() {
        let (slot, lender, mut tasks) =
            (Slot::new(Words::default()), Arc::<Signal>::default(), JoinSet::new());
        let lane = Lane::new(slot.clone());
        let (stream, mut body) = response(1000, &mut tasks).await;
        slot.add(&["before "]);
        assert!(!slot.notify(Instant::now()), "there is no stream");
        lane.lend(stream, &lender);
        slot.add(&["while ", "it is "]);
        assert!(slot.notify(Instant::now()));
        assert!(!slot.notify(Instant::now()), "there is nothing more");
        let stream = lane.take_back().unwrap();
        slot.add(&["lent"]);
        assert!(!slot.notify(Instant::now()) && lane.take_back().is_none());
        assert!(!was_raised(&lender), "there was room all the time");
        lane.lend(stream, &lender);
        assert_eq!(receive(&mut body, 23).await, "before while it is lent");
    }

    #[tokio::test]
    async fn a_peer_that_grants_no_room_is_one_message_behind_and_its_lender_is_woken() {
        let (slot, lender, mut tasks) =
            (Slot::new(Words::default()), Arc::<Signal>::default(), JoinSet::new());
        let lane = Lane::new(slot.clone());
        let (stream, mut body) = response(10, &mut tasks).await;
        slot.add(&["12345678"; 4]);
        lane.lend(stream, &lender);
        assert_eq!((was_raised(&lender), slot.left()), (true, 2), "10 of 16 bytes have room");
        assert!(!slot.notify(Instant::now()), "nothing goes out before the lender has looked");
        assert_eq!(receive(&mut body, 16).await, "1234567812345678");
        let mut stream = lane.take_back().unwrap();
        poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
        lane.lend(stream, &lender);
        assert_eq!(receive(&mut body, 8).await, "12345678");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_is_left_behind_when_news_meet_a_stream_that_goes_and_comes_back() {
        // No more: h2's client takes a hundred small frames that nobody reads for an attack.
        const WORDS: usize = 80;
        for _ in 0..25 {
            let (slot, lender, mut tasks) =
                (Slot::new(Words::default()), Arc::<Signal>::default(), JoinSet::new());
            let lane = Lane::new(slot.clone());
            let (mut stream, mut body) = response(1000, &mut tasks).await;
            tasks.spawn(async move {
                for _ in 0..WORDS {
                    slot.add(&["word "]);
                    slot.notify(Instant::now());
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
        let (slot, lender, mut tasks) =
            (Slot::new(Broken), Arc::<Signal>::default(), JoinSet::new());
        let (stream, _body) = response(1000, &mut tasks).await;
        *slot.lent.lock() = Some(Lent { stream, room: true, lender: lender.clone() });
        assert!(!slot.notify(Instant::now()) && was_raised(&lender));
        let lane = Lane::new(slot);
        let stream = lane.take_back().unwrap();
        let lend = AssertUnwindSafe(|| lane.lend(stream, &lender));
        assert!(catch_unwind(lend).is_err());
    }
}
