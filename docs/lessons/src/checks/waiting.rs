//! Lesson 16: a test waits for events.

use std::time::Duration;

use futures::{FutureExt as _, future::BoxFuture};
use tokio::time::{sleep, timeout};

use crate::{
    stage::{Client, PATIENCE, Stage, posts},
    verdict::Verdict,
};

/// Publishes the post of the test.
pub type Publish<'a> = BoxFuture<'a, ()>;

/// The program is a test: a post reaches its reader. It runs with a slow network, and with a
/// server that loses the post.
///
/// # Errors
/// It fails although the post arrives, or does not fail although it is lost.
pub async fn check(program: impl AsyncFn(Client, Publish<'_>) -> Verdict) -> Verdict {
    let stage = Stage::open().await?;
    let publish = async {
        stage.wire().hold(true);
        // A post that is not stored is a test that fails.
        let _ = stage.write(posts(1, 10)).await;
    };
    let network = async {
        sleep(Duration::from_secs(2)).await;
        stage.wire().hold(false);
    };
    let (passed, ()) = tokio::join!(program(stage.client(), publish.boxed()), network);
    if let Err(why) = passed {
        return Err(format!(
            "The network took 2 s, and the post arrived.\nThe test failed all the same: {why}"
        ));
    }
    let stage = Stage::open().await?;
    match timeout(PATIENCE, program(stage.client(), async {}.boxed())).await {
        Ok(Err(_)) => Ok(()),
        Ok(Ok(())) => Err("The post was lost, and the test passed.".to_owned()),
        Err(_) => Err("The post was lost, and the test waits for it for ever.".to_owned()),
    }
}
