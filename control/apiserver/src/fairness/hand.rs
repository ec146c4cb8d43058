//! Shuffle sharding: each flow may use a few queues of many, drawn like a hand of cards by its hash. Two flows seldom draw
//! the same hand, so one that floods its queues leaves others a free one.

/// The queues that the flow of a hash may use: `size` different ones of `deck`.
pub(super) fn deal(mut hash: u64, deck: u32, size: u32) -> Vec<u32> {
    let size = size.min(deck);
    let mut hand: Vec<u32> = Vec::with_capacity(size as usize);
    for dealt in 0..size {
        let left = u64::from(deck - dealt);
        // Of what is left, counted without the cards that are gone. Less than `deck`, which has 32 bits.
        let mut card = u32::try_from(hash % left).unwrap_or_default();
        hash /= left;
        let mut gone = hand.clone();
        gone.sort_unstable();
        for other in gone {
            if other <= card {
                card += 1;
            }
        }
        hand.push(card);
    }
    hand
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_hand_has_different_cards_of_the_deck_and_is_the_same_each_time() {
        for hash in [0, 1, 77, u64::MAX, 0x0123_4567_89ab_cdef] {
            let hand = deal(hash, 64, 8);
            let cards: HashSet<_> = hand.iter().collect();
            assert_eq!((hand.len(), cards.len()), (8, 8));
            assert!(hand.iter().all(|card| *card < 64), "{hand:?}");
            assert_eq!(deal(hash, 64, 8), hand);
        }
        assert_eq!(deal(5, 1, 8), [0]);
    }

    #[test]
    fn every_hand_of_a_small_deck_is_dealt_equally_often() {
        let mut seen = std::collections::HashMap::<Vec<u32>, u32>::new();
        for hash in 0..(5 * 4 * 3) * 10 {
            *seen.entry(deal(hash, 5, 3)).or_default() += 1;
        }
        assert_eq!(seen.len(), 60);
        assert!(seen.values().all(|count| *count == 10));
    }
}
