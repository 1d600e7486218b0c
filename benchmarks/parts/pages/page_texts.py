"""Random texts for rendered pages: sentences, names, items, prices. One seed, one text."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

_ENGLISH = """the of and a to in is was for on that with as by at from it his her they which this be
are have had not but were been their one all there when who will more if out so up said what about
into than them can only other new some time these two may then do first any my now such like our
over even most after also many before must through back years where much your way well down should
because each just those people how too little state good very make world still own see men work
long between both life being under never day same another know while last might us great old year
off come since against go came right used take three water river garden market harbour council
village letter bridge station school winter summer morning evening paper report captain window
kitchen railway church field stone"""
_GERMAN = """der die das und in den von zu mit sich des auf für ist im dem nicht ein eine als auch
es an werden aus er hat dass sie nach wird bei einer um am sind noch wie einem über einen so zum war
haben nur oder aber vor zur bis mehr durch man sein wurde sei Haus Stadt Jahr Wasser Garten Fluss
Brücke Schule Winter Sommer Morgen Abend Papier Bericht Fenster Küche Bahnhof Kirche Feld Stein
Markt Rat Dorf Brief Zeit Menschen Arbeit Leben Wege alte neue lange kleine große gute eigene
letzte erste zwischen gegen ohne während wieder immer schon dann hier dort heute gestern"""
_NAMES = """Anna Schmidt Peter Olsen Marie Dubois Thomas Reed Clara Whitfield Henry Marsh Ida Berg
Walter Pym Rosa Lind Edgar Holt Nora Quist Felix Brandt Alice Thorne Otto Kern"""
_TOWNS = (
    "Hollin Bridge|Marlow|Upper Tarn|Whitcombe|Linden|Port Averil|Kestrel B"
    "ay|Norden|Ely|Saltmarsh Green|Brackenhill|Oak Vale"
)
_GOODS = """bread butter cheese apples coffee tea soap candles paper pencils lamp oil nails rope jam
milk eggs flour honey brushes ribbon matches onions carrots leeks"""
_MONTHS = "January March April June August October December"
_KANA = "のにはをたがでてとしれさあるいもなことりからまめおきくけそちつ"
_HAN = "日本人大学年会国中出時行見月分後前生間上東今金九入文章花鳥風山川春秋夜空水火木石町"


class Texts:
    """Random texts of one language: `english`, `german` or `japanese`."""

    def __init__(self, chance: Random, language: str = "english") -> None:
        self.chance = chance
        self.japanese = language == "japanese"
        self.words = (_GERMAN if language == "german" else _ENGLISH).split()
        self.names, self.items = _NAMES.split(), _GOODS.split()

    def sentence(self) -> str:
        """6 to 16 words, with a comma and a name now and then."""
        if self.japanese:
            signs = self.chance.choices(_KANA + _HAN, k=self.chance.randint(14, 40))
            return "".join(signs) + "。"
        words = self.chance.choices(self.words, k=self.chance.randint(6, 16))
        for place in range(2, len(words) - 2):
            dice = self.chance.random()
            if dice < 0.04:
                words[place] = self.chance.choice(self.names)
            elif dice < 0.06:
                words[place] = str(self.chance.randint(2, 1990))
            elif dice < 0.12:
                words[place] += ","
        return (words[0][0].upper() + words[0][1:]) + " " + " ".join(words[1:]) + "."

    def paragraph(self, sentences: int) -> str:
        """That many sentences."""
        return ("" if self.japanese else " ").join(self.sentence() for _ in range(sentences))

    def title(self, words: int) -> str:
        """A heading of that many words."""
        if self.japanese:
            return "".join(self.chance.choices(_HAN, k=2 * words))
        return " ".join(one.capitalize() for one in self.chance.choices(self.words, k=words))

    def name(self) -> str:
        """A given name and a surname."""
        return " ".join(self.chance.choices(self.names, k=2))

    def town(self) -> str:
        """A town."""
        return self.chance.choice(_TOWNS.split("|"))

    def goods(self) -> str:
        """An item of a receipt, sometimes with an amount."""
        words = self.chance.choices(self.items, k=self.chance.randint(1, 3))
        amount = f" {self.chance.randint(1, 9)}00 g" if self.chance.random() < 0.25 else ""
        text = " ".join(words)
        return (text.upper() if self.chance.random() < 0.3 else text.capitalize()) + amount

    def price(self, most: int = 90) -> str:
        """A price with two decimals."""
        return f"{self.chance.randint(0, most)}.{self.chance.randint(0, 99):02d}"

    def date(self) -> str:
        """A date in one of three forms."""
        day, month, year = (self.chance.randint(*ends) for ends in ((1, 28), (1, 12), (1902, 2024)))
        names = _MONTHS.split()
        forms: list[Callable[[], str]] = [
            lambda: f"{day:02d}/{month:02d}/{year}",
            lambda: f"{year}-{month:02d}-{day:02d}",
            lambda: f"{day} {names[month % 7]} {year}",
        ]
        return self.chance.choice(forms)()

    def cell(self) -> str:
        """A cell of a register: a name, a town, goods, or a few words."""
        kinds = [self.name, self.town, self.goods, lambda: self.title(self.chance.randint(1, 4))]
        return self.chance.choice(kinds)()
