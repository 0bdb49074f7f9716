//! `GET /events`.

use arca_events::{Event, Events, Filter, Range, Subscription, Type};
use arca_wire::event::{Actor, Event as Message};
use axum::extract::State;
use axum::response::Response;
use futures_util::{Stream, StreamExt, future, stream};

use crate::compat::{ApiVersion, shows_event};
use crate::error::ApiError;
use crate::http::{Client, Query, lines, timestamp};

/// Sends what happened since a time, and goes on with what happens.
pub(super) async fn events(
    State(events): State<Events>,
    version: ApiVersion,
    query: Query,
    client: Client,
) -> Result<Response, ApiError> {
    let range = Range {
        since: timestamp(query.text("since"))?,
        until: timestamp(query.text("until"))?,
    };
    if let (Some(since), Some(until)) = (range.since, range.until)
        && until < since
    {
        return Err(ApiError::bad(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            query.text("since"),
            query.text("until")
        )));
    }
    let filter = Filter::new(query.filters()?.into_map());
    let subscription = events.subscribe(range, filter).await?;
    let shown = move |event: Event| {
        let shown = shows_event(version, event.kind.as_str(), &event.action);
        future::ready(shown.then(|| message(event)))
    };
    Ok(lines(client, stream(subscription).filter_map(shown)))
}

/// The events one after the other; a journal that cannot be read ends them.
fn stream(subscription: Subscription) -> impl Stream<Item = Event> + Send {
    stream::unfold(subscription, |mut subscription| async {
        match subscription.next().await {
            Ok(event) => event.map(|event| (event, subscription)),
            Err(error) => {
                tracing::error!(error = %arca_types::chain(&error), "events end early");
                None
            }
        }
    })
}

fn message(event: Event) -> Message {
    // the fields of old are of containers and images only
    let legacy = matches!(event.kind, Type::Container | Type::Image);
    let old = |text: &str| {
        if legacy {
            text.to_owned()
        } else {
            String::new()
        }
    };
    let from = match event.kind {
        Type::Container => event
            .actor
            .attributes
            .get("image")
            .cloned()
            .unwrap_or_default(),
        _ => String::new(),
    };
    Message {
        status: old(&event.action),
        id: old(&event.actor.id),
        from,
        kind: event.kind.as_str().to_owned(),
        action: event.action,
        actor: Actor {
            id: event.actor.id,
            attributes: event.actor.attributes,
        },
        scope: "local".to_owned(),
        time: event.time.seconds(),
        time_nano: event.time.unix_nanoseconds(),
    }
}
