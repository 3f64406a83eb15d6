"""Image files as a source: read by worker processes when a batch wants them, or into memory at once."""

class Reader(Dataset[Tensor | str]):
    """File i decoded, or the reason why not: an exception would leave a worker as a page of traceback."""

    def __init__(self, files: list[Path], look: Look):
        self.files = files
        self.look = look

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Tensor | str:
        try:
            return decode(self.files[i], self.look)
        except Refused as error:
            return str(error)


class Chunks(Dataset[list["np.ndarray | str"]]):
    """Many files at a time, [C, h, w] each: one by one they would spend their time between processes."""

    def __init__(self, reader: Reader):
        self.reader = reader

    def __getitem__(self, numbers: range) -> list[np.ndarray | str]:
        # As arrays they come through a pipe; a tensor would hold a file descriptor for as long as it lives.
        answers = map(self.reader.__getitem__, numbers)
        return [answer if isinstance(answer, str) else answer.numpy() for answer in answers]


class Batches(Dataset[tuple[Tensor, Tensor | None, list[int]] | str]):
    """Whole batches read from files, by the two lists of a request: (images, labels, files passed over)."""

    def __init__(self, reader: Reader, labels: Tensor | None, skip: bool):
        self.reader = reader
        self.labels = labels
        self.skip = skip

    def __getitem__(
        self, request: tuple[list[int], list[list[float]]]
    ) -> tuple[Tensor, Tensor | None, list[int]] | str:
        passed: list[int] = []
        used, windows = [], []
        for wanted, chance in zip(*request, strict=True):
            found = self._good(wanted, passed)
            if isinstance(found, str):
                return found
            used.append(found[0])
            windows.append(cut(found[1], self.reader.look, torch.tensor(chance)))
        return torch.stack(windows), None if self.labels is None else self.labels[used], passed

    def _good(self, wanted: int, passed: list[int]) -> tuple[int, Tensor] | str:
        """The file wanted or the next good one after it, the first following the last."""
        for step in range(len(self.reader)):
            i = (wanted + step) % len(self.reader)
            image = self.reader[i]
            if isinstance(image, Tensor):
                return i, image
            if not self.skip:
                return image
            passed.append(i)
        return none_readable(self.reader.files)


def none_readable(files: list[Path]) -> str:
    """What to say where every file is broken."""
    return f"none of the {len(files)} images can be read (one is {files[0]}): set data.root to good ones"


class Files(Source):
    """Images that are read when a batch wants them, by `num_workers` processes."""

    def __init__(self, found: Listing, look: Look, num_workers: int, skipped: list[str] | None):
        self.labels = found.labels
        self.reader = Reader(found.files, look)
        self.num_workers = num_workers
        self.skipped = skipped
        self.augments = look.flip or look.crop == "random"

    def __len__(self) -> int:
        return len(self.reader)

    @property
    def num_bytes(self) -> int:
        """What the images would take in memory; those to be cropped at random are taken for twice as long."""
        look = self.reader.look
        return len(self) * look.channels * look.height * look.width * (2 if look.crop == "random" else 1)

    def move(self, device: torch.device) -> None:
        """Nothing is held in memory."""

    def batches(self, requests: Iterator[Request]) -> Iterator[Samples]:
        reading = Batches(self.reader, self.labels, skip=self.skipped is not None)
        for answer in self._read(reading, map(_lists, requests)):
            if isinstance(answer, str):
                raise Refused(answer)
            x, labels, passed = answer
            self._note(passed)
            yield x, labels

    def sweep(self, batch_size: int) -> Iterator[Samples]:
        kept: list[tuple[int, Tensor]] = []
        for i, image in self.images():
            kept.append((i, cut(image, self.reader.look, still(1)[0])))
            if len(kept) == batch_size:
                yield self._together(kept)
                kept = []
        if kept:
            yield self._together(kept)

    def images(self) -> Iterator[tuple[int, Tensor]]:
        """Every image that can be read, [C, h, w] not yet cut, with its number."""
        good = 0
        chunks = [range(i, min(i + CHUNK, len(self))) for i in range(0, len(self), CHUNK)]
        for i, answer in enumerate(chain.from_iterable(self._read(Chunks(self.reader), chunks))):
            if not isinstance(answer, str):
                good += 1
                yield i, torch.from_numpy(answer)
            elif self.skipped is None:
                raise Refused(answer)
            else:
                self._note([i])
        if not good:
            raise Refused(none_readable(self.reader.files))

    def held(self) -> Source:
        """The same samples, read into memory now: the same batches, bit for bit."""
        look = self.reader.look
        numbers, kept = [], []
        for i, image in self.images():
            numbers.append(i)
            kept.append(image if look.crop == "random" else cut(image, look, still(1)[0]))
        good = torch.tensor(numbers)
        labels = None if self.labels is None else self.labels[good]
        if look.crop == "random":
            source: Source = Ragged(kept, labels, (look.channels, look.height, look.width), look.flip)
        else:
            source = Memory(torch.stack(kept), labels, look.flip)
        return source if len(good) == len(self) else Patched(source, good, len(self))

    def _together(self, kept: list[tuple[int, Tensor]]) -> Samples:
        numbers, windows = zip(*kept, strict=True)
        return torch.stack(windows), None if self.labels is None else self.labels[list(numbers)]

    def _note(self, numbers: Iterable[int]) -> None:
        for i in numbers:
            name = str(self.reader.files[i])
            if self.skipped is not None and name not in self.skipped:
                self.skipped.append(name)

    def _read(self, what: Dataset[Any], keys: Iterable[Any]) -> Iterable[Any]:
        return DataLoader(
            what,
            batch_size=None,
            sampler=keys,
            num_workers=self.num_workers,
            collate_fn=_unchanged,
            generator=torch.Generator(),  # else each start draws a number from the game's own stream
        )


def _lists(request: Request) -> tuple[list[int], list[list[float]]]:
    """A request for a worker: a tensor would travel as shared memory, and take the whole epoch's along."""
    chance = still(len(request.rows)) if request.chance is None else request.chance
    return request.rows.tolist(), chance.tolist()


def _unchanged(answer: Any) -> Any:
    return answer


class Patched(Source):
    """The good images behind the numbers of all: in a bad one's place stands the next good one."""

    def __init__(self, source: Source, good: Tensor, size: int):
        self.source = source
        following = torch.searchsorted(good, torch.arange(size))  # [size], len(good) after the last
        self.place = following % len(good)
        self.augments = source.augments

    def __len__(self) -> int:
        return len(self.place)

    def move(self, device: torch.device) -> None:
        self.source.move(device)

    def batches(self, requests: Iterator[Request]) -> Iterator[Samples]:
        return self.source.batches(Request(self.place[rows], chance) for rows, chance in requests)

    def sweep(self, batch_size: int) -> Iterator[Samples]:
        return self.source.sweep(batch_size)
