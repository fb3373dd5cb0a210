from trunkline.chat.rate import TokenBucket


def test_a_full_bucket_allows_a_burst_and_no_more() -> None:
    bucket = TokenBucket(rate=1, burst=3)
    assert [bucket.take(0.0) for _ in range(5)] == [True, True, True, False, False]


def test_tokens_flow_in_with_time() -> None:
    bucket = TokenBucket(rate=2, burst=1)
    assert bucket.take(10.0)
    assert not bucket.take(10.25)
    assert bucket.take(10.5)


def test_a_long_silence_fills_no_more_than_the_bucket() -> None:
    bucket = TokenBucket(rate=10, burst=2)
    bucket.take(0.0)
    assert [bucket.take(1000.0) for _ in range(3)] == [True, True, False]
