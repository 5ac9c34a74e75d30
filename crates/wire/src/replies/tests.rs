use super::*;

fn replies(sent: &[Expect]) -> Replies {
    let mut replies = Replies::default();
    for &expect in sent {
        replies.sent(expect).expect("in step");
    }
    replies
}

/// Runs `tags` (ReadyForQuery written as `Z`, status idle) and returns the verdicts.
fn check(sent: &[Expect], tags: &str) -> Vec<Reply> {
    let mut replies = replies(sent);
    tags.bytes()
        .map(|tag| replies.received(tag, b'I').expect("in step"))
        .collect()
}

const SETTLED: Reply = Reply::Ready { settled: true };
const PREPARED: Prepared = Prepared {
    statement: StatementId(7),
    generation: 0,
};

#[test]
fn a_query_is_settled_by_its_ready_for_query_only() {
    use Reply::Forward;
    assert_eq!(
        check(&[Expect::Query], "TDDCTCZ"),
        [
            Forward, Forward, Forward, Forward, Forward, Forward, SETTLED
        ]
    );
    assert_eq!(
        check(&[Expect::Query, Expect::Query], "CZCZ"),
        [Forward, Reply::Ready { settled: false }, Forward, SETTLED]
    );
}

#[test]
fn an_error_in_a_pipeline_skips_to_the_next_sync_and_no_further() {
    use Expect::{Bind, Describe, Execute, ParsePlain, Sync};
    let mut replies = replies(&[
        ParsePlain, Bind, Describe, Execute, Sync, Bind, Execute, Sync,
    ]);
    for (tag, settled) in [(b'1', None), (b'E', None), (b'Z', Some(false))] {
        let reply = replies.received(tag, b'I').expect("in step");
        if let Some(settled) = settled {
            assert_eq!(reply, Reply::Ready { settled });
        }
    }
    assert_eq!(replies.received(b'2', 0), Ok(Reply::Forward));
    assert_eq!(replies.received(b'C', 0), Ok(Reply::Forward));
    assert_eq!(replies.received(b'Z', b'I'), Ok(SETTLED));
}

#[test]
fn after_an_error_without_sync_everything_is_ignored_until_the_sync_is_sent() {
    let mut replies = replies(&[Expect::Bind, Expect::Execute]);
    assert_eq!(replies.received(b'E', 0), Ok(Reply::Forward));
    assert!(replies.is_skipping() && !replies.is_settled());
    assert_eq!(replies.sent(Expect::Parse(PREPARED)), Ok(false));
    assert_eq!(replies.sent(Expect::Query), Ok(false));
    assert_eq!(
        replies.take_undone().collect::<Vec<_>>(),
        [Undone::ClientParse(Some(PREPARED))]
    );
    assert_eq!(replies.sent(Expect::Sync), Ok(true));
    assert_eq!(replies.received(b'Z', b'I'), Ok(SETTLED));
}

#[test]
fn an_error_undoes_what_was_counted_on() {
    let mut replies = replies(&[
        Expect::Bind,
        Expect::CloseOwn(PREPARED),
        Expect::ParseOwn(PREPARED),
        Expect::AnsweredParse,
        Expect::Sync,
    ]);
    assert_eq!(replies.received(b'E', 0), Ok(Reply::Forward));
    assert_eq!(
        replies.take_undone().collect::<Vec<_>>(),
        [
            Undone::OwnClose(PREPARED),
            Undone::OwnParse(PREPARED),
            Undone::ClientParse(None)
        ]
    );
}

#[test]
fn answers_in_the_servers_place_keep_their_place() {
    let mut replies = replies(&[
        Expect::ParsePlain,
        Expect::AnsweredParse,
        Expect::Bind,
        Expect::AnsweredClose,
        Expect::Sync,
    ]);
    assert_eq!(replies.next_in_place(), None);
    replies.received(b'1', 0).expect("in step");
    assert_eq!(replies.next_in_place(), Some(InPlace::NamedParseComplete));
    assert_eq!(replies.next_in_place(), None);
    replies.received(b'2', 0).expect("in step");
    assert_eq!(replies.next_in_place(), Some(InPlace::CloseComplete));
    assert_eq!(replies.received(b'Z', b'I'), Ok(SETTLED));
}

#[test]
fn syncs_inside_a_copy_are_not_answered() {
    use Expect::{Bind, Execute, Sync};
    // libpq sends a Sync behind the Execute and another behind CopyDone.
    let mut tracker = replies(&[Bind, Execute, Sync]);
    for tag in [b'2', b'G'] {
        tracker.received(tag, 0).expect("in step");
    }
    assert_eq!(tracker.sent(Sync), Ok(false));
    tracker.copy_ended();
    assert_eq!(tracker.sent(Sync), Ok(true));
    assert_eq!(tracker.received(b'C', 0), Ok(Reply::Forward));
    assert_eq!(tracker.received(b'Z', b'I'), Ok(SETTLED));

    // Everything sent blindly in one go.
    let mut tracker = replies(&[Bind, Execute, Sync]);
    tracker.copy_ended();
    tracker.sent(Sync).expect("in step");
    for tag in [b'2', b'G', b'C'] {
        tracker.received(tag, 0).expect("in step");
    }
    assert_eq!(tracker.received(b'Z', b'I'), Ok(SETTLED));
}

#[test]
fn an_error_may_follow_command_complete_at_sync() {
    use Expect::{Bind, Execute, Sync};
    let verdicts = check(&[Bind, Execute, Sync], "2CEZ");
    assert_eq!(verdicts.last(), Some(&SETTLED));
}

#[test]
fn what_was_not_asked_for_is_out_of_sync() {
    for (sent, tag) in [
        (&[][..], b'Z'),
        (&[][..], b'D'),
        (&[Expect::Bind][..], b'1'),
        (&[Expect::Execute, Expect::Sync][..], b'Z'),
        (&[Expect::Query][..], b'2'),
        (&[Expect::Query][..], b'K'),
        (&[Expect::Sync][..], b'C'),
    ] {
        let mut replies = replies(sent);
        assert!(replies.received(tag, b'I').is_err(), "{sent:?} {tag}");
    }
    assert!(replies(&[Expect::Sync]).received(b'Z', b'?').is_err());
}

#[test]
fn our_own_query_is_swallowed_whole() {
    let verdicts = check(&[Expect::Own, Expect::Query], "TDCNZCZ");
    assert_eq!(verdicts[..4], [Reply::Swallow; 4]);
    assert_eq!(verdicts[4], Reply::OwnReady { settled: false });
    assert_eq!(verdicts[6], SETTLED);
}

#[test]
fn names_are_in_doubt_behind_the_sync_of_a_batch_that_made_them() {
    let mut replies = replies(&[Expect::Bind, Expect::Parse(PREPARED), Expect::Bind]);
    assert!(
        !replies.names_in_doubt(),
        "an error would undo what follows, too"
    );
    replies.sent(Expect::Sync).expect("in step");
    assert!(replies.names_in_doubt());
    replies.received(b'2', 0).expect("in step");
    assert!(replies.names_in_doubt());
    replies.received(b'1', 0).expect("in step");
    assert!(!replies.names_in_doubt());
}

#[test]
fn an_error_settles_what_was_in_doubt() {
    let mut replies = replies(&[Expect::Bind, Expect::AnsweredClose, Expect::Sync]);
    assert!(replies.names_in_doubt());
    replies.received(b'E', 0).expect("in step");
    assert!(!replies.names_in_doubt());
    assert_eq!(
        replies.take_undone().collect::<Vec<_>>(),
        [Undone::ClientClose]
    );
}

#[test]
fn a_second_copy_of_one_query_may_be_ended_before_it_is_granted() {
    let mut replies = replies(&[Expect::Query]);
    replies.received(b'G', 0).expect("in step");
    replies.copy_ended();
    replies.copy_ended();
    replies.received(b'C', 0).expect("in step");
    replies.received(b'G', 0).expect("in step");
    assert!(!replies.is_copying_in());
    assert_eq!(
        replies.sent(Expect::Sync),
        Ok(true),
        "the server answers it"
    );
    replies.received(b'C', 0).expect("in step");
    assert_eq!(
        replies.received(b'Z', b'I'),
        Ok(Reply::Ready { settled: false })
    );
    assert_eq!(replies.received(b'Z', b'I'), Ok(SETTLED));
}
