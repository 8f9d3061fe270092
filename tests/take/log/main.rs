//! Takes `quartet-log`: appends to a log on disk, opens it again, and follows it with a cursor.

use std::{collections::BTreeSet, error::Error, path::Path, sync::Arc, time::SystemTime};

use quartet_log::{
    Cursor, Dispatcher, EmbeddedLog, Filter, LogOptions, NewPost, Outcome, PostLog,
    quartet::post::v1::PostMessage,
};
use tokio_util::sync::CancellationToken;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("take-log-{}", std::process::id()));
    let checked = check(&folder).await;
    std::fs::remove_dir_all(&folder)?;
    checked
}

async fn check(folder: &Path) -> Result<(), Box<dyn Error>> {
    let log = EmbeddedLog::open_directory(folder, LogOptions::default()).await?;
    let outcomes = log.append(vec![post("a", "tea"), post("b", "coffee")].into()).await?.await?;
    assert_eq!(outcomes, [Outcome::Created(1), Outcome::Created(2)]);
    log.close().await?;

    let log = EmbeddedLog::open_directory(folder, LogOptions::default()).await?;
    let log: Arc<dyn PostLog> = Arc::new(log);
    let dispatcher = Dispatcher::new(log.clone());
    let coffee = BTreeSet::from(["coffee".to_owned()]);
    let filter = Filter { tags: coffee.into(), ..Filter::default() };
    let mut cursor = Cursor::new(log.clone(), dispatcher.clone(), filter, 0);
    let stop = CancellationToken::new();
    let follow = async {
        let replayed = cursor.follow().await?;
        assert_eq!((replayed.records.len(), replayed.position), (1, 2));
        cursor.advance(&replayed);
        log.append(vec![post("c", "tea"), post("d", "coffee")].into()).await?.await?;
        let followed = cursor.follow().await?;
        assert_eq!((followed.records.len(), followed.position), (1, 4));
        stop.cancel();
        Ok::<_, Box<dyn Error>>(())
    };
    let dispatch = async {
        dispatcher.run(stop.clone()).await;
        Ok(())
    };
    tokio::try_join!(follow, dispatch)?;
    Ok(log.close().await?)
}

fn post(post_id: &str, tag: &str) -> NewPost {
    let (post_id, tags) = (post_id.to_owned(), vec![tag.to_owned()]);
    NewPost::of(&PostMessage { post_id, tags, ..PostMessage::default() }, SystemTime::now().into())
}
