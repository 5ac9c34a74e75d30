//! A client's task: its login, and then its session in the same place.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::Client;

/// Written by hand for its size: an async block would keep room for the session three times,
/// and this is what an idle client costs.
#[allow(
    clippy::large_enum_variant,
    reason = "the session lives in the task's own allocation; the login is short-lived"
)]
pub(super) enum Task<Login> {
    /// Large while it lasts, hence boxed.
    LoggingIn(Pin<Box<Login>>),
    Served(Client),
}

impl<Login: Future<Output = Option<Client>>> Future for Task<Login> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            match this {
                Self::LoggingIn(login) => match login.as_mut().poll(context) {
                    Poll::Ready(Some(client)) => *this = Self::Served(client),
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                },
                Self::Served(Client::Session(session)) => return Pin::new(session).poll(context),
                Self::Served(Client::Replication(replication)) => {
                    return Pin::new(replication).poll(context);
                }
            }
        }
    }
}
