//! Resuming a call after a cut: the loop that all streams of this library share.
//!
//! Once the response of a stream has begun, the channel cannot retry it, because the channel does
//! not know how far the caller has got. The caller does: it keeps a position, or the requests
//! without an answer, and makes a new call from there. [`resumed`] is the loop around such calls.
//! After a cut it asks the [`ResumePolicy`], reports the pause, sleeps, makes the next call, and
//! reports once that the stream goes on. A [`ResumableCall`] is what differs: how a call is made,
//! which events it yields, and what it remembers for the next one.

use std::pin::pin;

use async_stream::try_stream;
use futures::{Stream, StreamExt as _};

pub use self::policy::{Disconnected, ResumePolicy};
use crate::error::Error;

mod policy;

/// A call that can be made again from where the previous one was cut. The caller of the stream sees
/// events of type `E`.
pub trait ResumableCall<E> {
    /// Makes one call and yields what happens on it.
    ///
    /// The end of the returned stream means that everything requested has come. An error means
    /// that the call was cut or has failed; the [`ResumePolicy`] decides whether another attempt
    /// follows. What that attempt starts from is stored in `self`.
    fn attempt(&mut self) -> impl Stream<Item = Result<Step<E>, Error>> + Send;

    /// The event that reports a pause before the next attempt.
    fn disconnected(pause: Disconnected) -> E;

    /// The event that reports, once per pause, that the stream goes on. It is made before the
    /// attempt begins, so that it names the position from which the attempt starts.
    fn reconnected(&self) -> Option<E>;
}

/// One step of an attempt.
#[derive(Debug)]
pub enum Step<E> {
    /// The response headers have arrived. From here on the channel no longer retries the call.
    ResponseBegan,
    /// The call is under way: after a cut, the caller learns now that the stream goes on.
    UnderWay,
    /// Something was achieved that no later attempt has to repeat, so the policy's patience begins
    /// anew. Implies `UnderWay`.
    Progress,
    /// Passed on to the caller of the stream.
    Event(E),
}

/// The events of `call`, resumed after every cut that `policy` allows.
///
/// Nothing runs while the stream is not polled; dropping it ends the call. `next()` is cancel-safe.
///
/// # Errors
/// The error of the attempt after which `policy` gave up. It is the last item.
pub fn resumed<E: Send, C: ResumableCall<E> + Send>(
    mut policy: ResumePolicy,
    mut call: C,
) -> impl Stream<Item = Result<E, Error>> + Send {
    try_stream! {
        let mut reconnected = None;
        loop {
            let cut = {
                let mut attempt = pin!(call.attempt());
                loop {
                    match attempt.next().await {
                        Some(Ok(Step::Event(event))) => yield event,
                        Some(Ok(Step::ResponseBegan)) => policy.response_began(),
                        Some(Ok(step @ (Step::UnderWay | Step::Progress))) => {
                            if matches!(step, Step::Progress) {
                                policy.progress();
                            }
                            if let Some(event) = reconnected.take() {
                                yield event;
                            }
                        }
                        Some(Err(cut)) => break cut,
                        None => return,
                    }
                }
            };
            let pause = policy.pause(cut)?;
            let delay = pause.delay;
            yield C::disconnected(pause);
            tokio::time::sleep(delay).await;
            reconnected = call.reconnected();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures::{TryStreamExt as _, stream};
    use tonic::Status;

    use super::*;

    type Attempt = Vec<Result<Step<&'static str>, Error>>;

    /// Attempts whose steps a test has written down.
    struct Scripted(VecDeque<Attempt>);

    impl ResumableCall<&'static str> for Scripted {
        fn attempt(&mut self) -> impl Stream<Item = Result<Step<&'static str>, Error>> + Send {
            stream::iter(self.0.pop_front().expect("no attempt follows the last of the script"))
        }

        fn disconnected(_: Disconnected) -> &'static str {
            "disconnected"
        }

        fn reconnected(&self) -> Option<&'static str> {
            Some("reconnected")
        }
    }

    async fn play(attempts: impl IntoIterator<Item = Attempt>) -> Vec<Result<&'static str, Error>> {
        let call = Scripted(attempts.into_iter().collect());
        resumed(ResumePolicy::default(), call).collect().await
    }

    fn cut() -> Result<Step<&'static str>, Error> {
        Err(Status::unavailable("draining").into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_goes_on_after_a_cut_and_says_so_once() {
        let attempts = [
            vec![Ok(Step::ResponseBegan), Ok(Step::Progress), Ok(Step::Event("1")), cut()],
            vec![Ok(Step::UnderWay), Ok(Step::Event("2")), Ok(Step::Progress), cut()],
            vec![Ok(Step::Progress), Ok(Step::Progress), Ok(Step::Event("3"))],
        ];
        let call = Scripted(attempts.into());
        let events: Vec<_> = resumed(ResumePolicy::default(), call).try_collect().await.unwrap();
        let expected =
            ["1", "disconnected", "reconnected", "2", "disconnected", "reconnected", "3"];
        assert_eq!(events, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_fails_before_it_is_under_way_is_not_reported_as_reconnected() {
        let events =
            play([vec![Ok(Step::Progress), cut()], vec![cut()], vec![Ok(Step::UnderWay)]]).await;
        let events: Vec<_> = events.into_iter().map(Result::unwrap).collect();
        assert_eq!(events, ["disconnected", "disconnected", "reconnected"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_that_cannot_be_resumed_is_the_last_item() {
        let broken = Err(Error::Protocol("no order".into()));
        let events = play([vec![Ok(Step::Progress), Ok(Step::Event("1")), broken]]).await;
        assert!(matches!(events[..], [Ok("1"), Err(Error::Protocol(_))]), "{events:?}");
    }
}
