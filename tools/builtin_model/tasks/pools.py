"""The words the tasks draw from. Small and fixed, so that nearly every word is one token."""


def words(text: str) -> list[str]:
    """The words of a text, as a pool to draw from."""
    return text.split()


NAMES = words(
    "Anna Ben Clara David Emma Felix Grace Henry Iris Jack Kate Leo Maria Nina Oscar Paul Rosa Sam Tina Victor "
    "Alice Bob Carol Daniel Ella Frank George Hannah Ivan Julia Karl Laura Mark Nora Olga Peter Ruth Simon Tom "
    "Zoe Adam Bella Lucas Lily Max Mia Noah Eva Hugo Sara"
)

CITIES = words(
    "Paris London Berlin Madrid Rome Vienna Lisbon Oslo Athens Dublin Tokyo Cairo Warsaw Prague Boston Chicago "
    "Hamburg Munich Milan Geneva Sydney Toronto Dallas Lyon Porto"
)

COLORS = words("red blue green yellow black white orange purple pink brown gray gold silver")

JOBS = words("teacher doctor farmer baker painter pilot nurse writer singer lawyer driver cook")

WORDS = words(
    "cat dog sun moon tree book fish bird star rain snow milk bread apple lemon grape peach chair table door "
    "river stone cloud horse mouse tiger lion bear wolf sheep goat duck frog bee ant leaf rose grass sand hill "
    "lake boat train car bus bike road house wall roof lamp clock phone paper pen cup plate spoon fork knife "
    "shirt shoe hat coat ring drum flute song dance king queen child farm field wind fire water salt sugar rice "
    "cake nut egg red blue green black white"
)

ITEMS = words("apples lemons eggs books pens cups lamps chairs plates hats shoes cakes clocks coats")

LETTERS = words("a b c d e f g h i j k l m n o p q r s t u v w x y z")
