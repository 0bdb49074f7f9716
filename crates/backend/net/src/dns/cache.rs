//! Answers of other servers, as long as they are good.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::message;

/// The most answers of one sandbox that are kept.
const ANSWERS: usize = 1000;
/// The longest answer that is kept, bytes.
const LENGTH: usize = 2048;
/// However long a server says that its answer is good.
const LONGEST: u32 = 3600;

/// Answers by the bytes of the question, without its number.
#[derive(Debug, Default)]
pub(super) struct Cache {
    answers: HashMap<Vec<u8>, Kept>,
    /// The questions in the order in which their answers get old; the number keeps equal times apart.
    ends: BTreeMap<(Instant, u64), Vec<u8>>,
    count: u64,
}

#[derive(Debug)]
struct Kept {
    answer: Vec<u8>,
    since: Instant,
    end: (Instant, u64),
}

impl Cache {
    /// The answer to `request`, with the time that is left of it.
    pub(super) fn get(&mut self, request: &[u8], now: Instant) -> Option<Vec<u8>> {
        let kept = self.answers.get(request.get(2..)?)?;
        if now >= kept.end.0 {
            return None;
        }
        let mut answer = kept.answer.clone();
        message::set_id(&mut answer, message::id(request)?);
        let age = now.duration_since(kept.since).as_secs();
        message::grow_older(&mut answer, u32::try_from(age).unwrap_or(u32::MAX));
        Some(answer)
    }

    /// Keeps an answer for as long as it is good.
    pub(super) fn put(&mut self, request: &[u8], answer: &[u8], now: Instant) {
        let Some(question) = request.get(2..) else {
            return;
        };
        let good = message::good_for(answer).unwrap_or(0).min(LONGEST);
        if good == 0 || answer.len() > LENGTH {
            return;
        }
        self.count += 1;
        let end = (now + Duration::from_secs(good.into()), self.count);
        let kept = Kept {
            answer: answer.to_vec(),
            since: now,
            end,
        };
        if let Some(old) = self.answers.insert(question.to_vec(), kept) {
            self.ends.remove(&old.end);
        }
        self.ends.insert(end, question.to_vec());
        self.sweep(now);
    }

    /// Lets go of what is old, and of what would be next where there is too much.
    fn sweep(&mut self, now: Instant) {
        while let Some(first) = self.ends.first_entry() {
            if first.key().0 > now && self.answers.len() <= ANSWERS {
                return;
            }
            let question = first.remove();
            self.answers.remove(&question);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::message::{Answer, ask, code, kind, parse, respond};

    fn answered(name: &str) -> (Vec<u8>, Vec<u8>) {
        let request = ask(name, kind::A);
        let query = parse(&request).unwrap();
        let address = Answer::Address([192, 0, 2, 7].into());
        let answer = respond(&request, &query, code::OK, &[address]);
        (request, answer)
    }

    #[test]
    fn an_answer_is_kept_for_as_long_as_it_is_good_and_gets_older() {
        let (mut request, answer) = answered("example.org");
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.put(&request, &answer, now);
        message::set_id(&mut request, 0x7777);
        let later = cache.get(&request, now + Duration::from_secs(100)).unwrap();
        assert_eq!(message::id(&later), Some(0x7777));
        // Answers of ours are good for 600 s.
        assert_eq!(message::good_for(&later), Some(500));
        assert!(
            cache
                .get(&request, now + Duration::from_secs(600))
                .is_none()
        );
        assert!(cache.get(&answered("example.com").0, now).is_none());
    }

    #[test]
    fn failures_and_cut_answers_are_not_kept() {
        let (request, answer) = answered("example.org");
        let (mut cache, now) = (Cache::default(), Instant::now());
        let mut failed = answer.clone();
        failed[3] = (failed[3] & 0xf0) | code::SERVER;
        cache.put(&request, &failed, now);
        assert!(cache.get(&request, now).is_none());
        let mut cut = answer;
        cut[2] |= 0x02;
        cache.put(&request, &cut, now);
        assert!(cache.get(&request, now).is_none());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for number in 0..2 * ANSWERS {
            let (request, answer) = answered(&format!("n{number}.example"));
            cache.put(
                &request,
                &answer,
                now + Duration::from_millis(number as u64),
            );
        }
        assert_eq!(cache.answers.len(), ANSWERS);
        assert_eq!(cache.ends.len(), ANSWERS);
        assert!(cache.get(&answered("n0.example").0, now).is_none());
    }
}
